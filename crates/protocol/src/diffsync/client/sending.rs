//! What a client sends, and how much of it at once.

use std::sync::Arc;
use std::time::Duration;

use super::super::delta::Delta;
use super::super::request::{ClientReturn, ClientSync, Request};
use super::super::server::delta_of;
use super::{Client, ClientOutput, Flight, MAX_MISFITS, MAX_SENT, Sent, parcel};
use crate::limits;

impl Client {
    /// Sends a request if there is a reason and none is under way that will be answered at once.
    pub(super) fn step(&mut self, now: Duration, out: &mut Vec<ClientOutput>) {
        if self.stuck {
            return;
        }
        match self.flight {
            Some(flight) if !flight.waits || !self.again => return,
            None if !self.waiting && !self.again => return,
            _ => {}
        }
        self.again = false;
        let doc = self.doc.clone();
        let told = self.returning.as_ref().and_then(|returning| returning.seq);
        let seq = told.unwrap_or(self.seq + 1);
        self.seq = self.seq.max(seq);
        let mut waits = false;
        let request = match &mut self.returning {
            Some(returning) => {
                if told.is_none() {
                    self.shadow = self.text.clone();
                    self.local.clear();
                    returning.seq = Some(seq);
                }
                let (shadow, sum) = (returning.before.to_string(), returning.before.sum());
                Request::Return(ClientReturn { doc, seq, shadow, text: self.shadow.to_string(), sum })
            }
            None => {
                self.take_up_local();
                let together = self.together();
                let edits = self.sent.iter().take(together);
                let edits = edits.map(|sent| (sent.base_n, sent.delta.clone())).collect();
                let told = self.sent.get(together).map_or(&self.shadow, |next| &next.before);
                let sum = (self.misfits <= MAX_MISFITS).then(|| told.sum());
                waits = self.waiting && self.sent.is_empty();
                let (session, m_ack) = (None, self.m);
                Request::Sync(ClientSync { doc, session, seq, m_ack, edits, sum, wait: waits })
            }
        };
        self.next_poll = now + self.poll;
        let until = if waits { self.next_poll } else { now + self.wait };
        self.flight = Some(Flight { seq, until, waits, answers: 0 });
        self.counts.requests += 1;
        self.send(request, now, out);
    }

    /// Gives what was typed a number: it is an edit that the hub may have from now on.
    pub(super) fn take_up_local(&mut self) {
        while !self.local.is_empty() && self.sent.len() < MAX_SENT {
            let before = self.shadow.clone();
            let mut edits = std::mem::take(&mut self.local);
            let mut delta = delta_of(&edits, before.chars(), &self.text);
            self.shadow = self.text.clone();
            if delta.steps() < edits.len() {
                // It was drawn together to one replacement.
                edits = delta.edits(before.chars()).unwrap_or(edits);
            }
            if parcel::weight(&edits) > parcel::MOST {
                let (first, rest) = parcel::cut(&edits, parcel::MOST);
                if let Ok(shadow) = before.edited(&first) {
                    delta = Delta::of(&first, before.chars());
                    (self.shadow, self.local, edits) = (shadow, rest, first);
                }
            }
            self.sent.push_back(Sent { base_n: self.n, before, edits, delta: Arc::new(delta) });
            self.n += 1;
        }
    }

    /// How many of the edits that were not acknowledged go into one request: the first, and what has room beside it.
    fn together(&self) -> usize {
        let (mut steps, mut weight) = (0, 0);
        let fits = |sent: &&Sent| {
            steps += sent.delta.steps();
            weight += parcel::weight(&sent.edits);
            steps <= limits::MAX_DELTA_STEPS && weight <= parcel::MOST
        };
        self.sent.iter().take_while(fits).count().max(1).min(self.sent.len())
    }
}

#[cfg(test)]
mod tests {
    use syncline_engine::{Edit, apply_to_str};

    use super::super::super::checksum::Sum;
    use super::super::super::response::{ConnectOk, Response, ServerSync};
    use super::super::super::session_id::SessionId;
    use super::super::{ClientInput, Settings};
    use super::*;
    use crate::error::{ErrorCode, ProtocolError};

    const NOW: Duration = Duration::ZERO;

    fn open() -> Client {
        let session = SessionId([1; 16]);
        let mut client = Client::new(Settings {
            session,
            doc: None,
            auth: None,
            name: None,
            compress: false,
            wait: false,
        });
        client.handle(ClientInput::Connected, NOW);
        let ok = ConnectOk {
            doc: "a.txt".into(),
            resumed: false,
            text: Some(String::new()),
            n: 0,
            m: 0,
            sum: Sum::default(),
            last_seq: 0,
            version: 0,
            changed_ms: 0,
            compress: None,
            wait: false,
        };
        client.handle(ClientInput::Received(Response::ConnectOk(ok).to_json()), NOW);
        client
    }

    fn said(out: Vec<ClientOutput>) -> Option<String> {
        out.into_iter().find_map(|output| match output {
            ClientOutput::Send(text) => Some(text),
            _ => None,
        })
    }

    /// In tests a message is short: what was typed goes in several, and each of them fits.
    #[test]
    fn what_is_too_long_for_one_message_goes_in_several() {
        let mut client = open();
        let (mut text, mut n, mut requests) = (String::new(), 0, 0);
        let typed = "é\u{1}\"line\"\n".repeat(500);
        let mut next = said(client.handle(ClientInput::Edited(vec![Edit::insert(0, typed.as_str())]), NOW));
        while let Some(request) = next.take() {
            requests += 1;
            assert!(request.len() < parcel::MOST + 200, "{} bytes", request.len());
            let Ok(Request::Sync(sync)) = Request::parse(&request) else { panic!("{request}") };
            for (base_n, delta) in &sync.edits {
                assert_eq!(*base_n, n, "in order, each once");
                text = apply_to_str(&text, &delta.edits(text.chars().count()).unwrap());
                n += 1;
            }
            assert_eq!(sync.sum, Some(Sum::of(&text)), "the sum is that of what was told so far");
            let (doc, sum) = (sync.doc, Sum::of(&text));
            let answer = Response::Sync(ServerSync { doc, seq: sync.seq, n_ack: n, edits: vec![], sum });
            next = said(client.handle(ClientInput::Received(answer.to_json()), NOW));
            assert!(requests < 1_000);
        }
        assert_eq!(text, typed);
        assert!(client.is_saved() && requests > 20, "{requests} requests");
    }

    #[test]
    fn what_the_hub_never_takes_is_not_sent_for_ever() {
        let mut client = open();
        let typed = ClientInput::Edited(vec![Edit::insert(0, "long")]);
        assert!(said(client.handle(typed, NOW)).is_some());
        let error = ProtocolError::new(ErrorCode::TooLarge, "a document has at most 64 MiB");
        let out = client.handle(ClientInput::Received(error.to_json()), NOW);
        assert!(matches!(out.as_slice(), [ClientOutput::Refused(_)]), "{out:?}");
        for seconds in 1..100 {
            let out = client.handle(ClientInput::Tick, Duration::from_secs(seconds));
            assert!(out.iter().all(|out| matches!(out, ClientOutput::Send(text) if text.contains("Ping"))));
        }
        assert!(!client.is_saved() && *client.text() == *"long", "it is kept");
        // Made shorter, it is told in one piece: by a fresh start.
        let shorter = ClientInput::Edited(vec![Edit::delete(1..4)]);
        let request = said(client.handle(shorter, NOW)).unwrap();
        assert!(request.contains("ClientSync") && !request.contains("sum"), "{request}");
        assert!(matches!(Request::parse(&request), Ok(Request::Sync(sync)) if sync.sum.is_none()));
    }
}
