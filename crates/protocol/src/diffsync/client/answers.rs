//! What a client makes of the hub's answers.

use std::time::Duration;

use syncline_engine::{Edit, diff};

use super::super::response::{Resync, ServerSync};
use super::super::summed_text::SummedText;
use super::{Client, ClientOutput};
use crate::error::{ErrorCode, ProtocolError};
use crate::limits;
use crate::rebase::{composed, rebase};

impl Client {
    pub(super) fn synced(&mut self, sync: &ServerSync, now: Duration, out: &mut Vec<ClientOutput>) {
        let Some(mut flight) = self.flight.filter(|flight| flight.seq == sync.seq) else { return };
        if self.returning.is_some() {
            return;
        }
        self.counts.answers += 1;
        self.wait = limits::ANSWER_WAIT;
        flight.answers += 1;
        self.flight = flight.waits.then_some(flight);
        if let Some((base_m, _)) = sync.edits.first()
            && flight.waits
        {
            // Further answers to one request follow on each other, and may have got lost or come twice on their own.
            if *base_m > self.m {
                self.again = true;
                return;
            }
            if self.m - base_m >= sync.edits.len() as u64 {
                return;
            }
            let (least, most) = limits::ACKNOWLEDGE_AFTER.into_inner();
            self.again |=
                flight.answers >= usize::from(least + self.settings.session.0[15] % (most - least + 1));
        }
        self.acknowledged(sync.n_ack);
        if sync.n_ack != self.n {
            // It answers a request of another life of this session; the next one will fit.
            self.again = true;
            return;
        }
        match self.applied(sync) {
            Some((shadow, m, theirs)) => {
                self.misfits = 0;
                if !theirs.is_empty() {
                    self.counts.received += 1;
                    self.lively(now);
                    self.local = rebase(&self.local, &theirs);
                    // The mapped edits fit by construction; if they did not, the shadow is the truth.
                    self.text = shadow.edited(&self.local).unwrap_or_else(|_| shadow.clone());
                    self.shadow = shadow;
                    out.push(ClientOutput::Changed(theirs));
                }
                self.m = m;
                self.again |= !self.local.is_empty();
            }
            None => {
                // Nothing of it is taken. Asked again, the hub goes back to its backup; if that does not help
                // either, a fresh start is asked for.
                self.misfits += 1;
                self.again = true;
            }
        }
    }

    /// The shadow after the hub's edits, if all of them fit.
    fn applied(&self, sync: &ServerSync) -> Option<(SummedText, u64, Vec<Edit>)> {
        let (mut shadow, mut m, mut all) = (self.shadow.clone(), self.m, Vec::new());
        for (base_m, delta) in &sync.edits {
            if *base_m < m {
                continue;
            }
            if *base_m > m {
                return None;
            }
            let edits = delta.edits(shadow.chars()).ok()?;
            shadow = shadow.edited(&edits).ok()?;
            all = if all.is_empty() { edits } else { composed(&all, &edits) };
            m += 1;
        }
        (shadow.sum() == sync.sum).then_some((shadow, m, all))
    }

    pub(super) fn acknowledged(&mut self, n_ack: u64) {
        while self.sent.front().is_some_and(|sent| sent.base_n < n_ack) {
            self.sent.pop_front();
            self.counts.acknowledged += 1;
        }
    }

    pub(super) fn resynced(
        &mut self,
        resync: &Resync,
        now: Duration,
        out: &mut Vec<ClientOutput>,
    ) -> Result<(), ProtocolError> {
        if self.flight.is_none_or(|flight| flight.seq != resync.seq) {
            return Ok(());
        }
        let text = SummedText::from(resync.text.as_str());
        if text.sum() != resync.sum {
            let message = "the text does not have the checksum that came with it";
            return Err(ProtocolError::new(ErrorCode::BadMessage, message));
        }
        self.flight = None;
        self.wait = limits::ANSWER_WAIT;
        self.acknowledged(resync.n_ack);
        let before = self.sent.front().map_or_else(|| self.shadow.clone(), |sent| sent.before.clone());
        let mut mine = Vec::new();
        for sent in std::mem::take(&mut self.sent) {
            mine = composed(&mine, &sent.edits);
        }
        mine = composed(&mine, &self.local);
        let theirs = diff(&before.to_string(), &resync.text);
        self.local = rebase(&mine, &theirs);
        self.text = text.edited(&self.local).unwrap_or_else(|_| text.clone());
        self.shadow = text;
        (self.n, self.m, self.misfits) = (resync.n, resync.m, 0);
        self.again = !self.local.is_empty();
        self.lively(now);
        if self.returning.take().is_none() {
            self.counts.resyncs += 1;
            out.push(ClientOutput::Resynced);
        }
        if !theirs.is_empty() {
            self.counts.received += 1;
            out.push(ClientOutput::Changed(theirs));
        }
        Ok(())
    }
}
