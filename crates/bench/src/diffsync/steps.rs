//! Steps in process: the client's end, the server's end over the real engine, and the messages as text between
//! them. Convergence is checked as it goes.

use std::time::{Duration, Instant};

use syncline_engine::{AgentId, Document, Edit, Meta};
use syncline_hub::diffsync::{LiveHistory, Tip};
use syncline_protocol::diffsync::{
    Answer, ClientInput, ClientOutput, ConnectOk, Request, Response, Server, Step,
};

use super::client;
use crate::Fallible;
use crate::files::Text;
use crate::percentiles::Summary;

/// What was measured.
pub struct Measured {
    pub summary: Summary,
    pub per_second: f64,
}

/// Takes so many steps on a document of this length. Every fourth step finds somebody else's edit as well.
pub fn measure(bytes: usize, steps: usize) -> Fallible<Measured> {
    let agent = AgentId::from_random(1);
    let meta = Meta::default();
    let mut document = Document::new();
    let text = String::from_utf8(Text::of(bytes).as_bytes().to_vec())?;
    document.edit(&[Edit::insert(0, text)], agent, &meta)?;
    let mut tip = Tip::of(&document);
    let mut server = Server::new(tip.now(&mut document).clone());
    let mut client = client(1, "");
    client.handle(ClientInput::Connected, Duration::ZERO);
    let shadow = &server.shadow().text;
    let ok = ConnectOk {
        doc: "shared.txt".to_owned(),
        resumed: false,
        text: Some(shadow.to_string()),
        n: 0,
        m: 0,
        sum: shadow.sum(),
        last_seq: 0,
        version: 0,
        changed_ms: 0,
        compress: None,
        wait: false,
    };
    client.handle(ClientInput::Received(Response::ConnectOk(ok).to_json()), Duration::ZERO);
    let mut times = Vec::with_capacity(steps);
    for number in 0..steps {
        let length = client.text().chars();
        // Insertions and deletions in turn, all over the text: its length stays.
        let at = number.wrapping_mul(7_919) % length;
        let edit = if number % 2 == 0 { Edit::insert(at, "x") } else { Edit::delete(at..at + 1) };
        if number % 4 == 0 {
            let theirs = number.wrapping_mul(104_729) % document.text().len();
            let theirs =
                if number % 8 == 0 { Edit::insert(theirs, "y") } else { Edit::delete(theirs..theirs + 1) };
            document.edit(&[theirs], agent, &meta)?;
        }
        let started = Instant::now();
        let mut outputs = client.handle(ClientInput::Edited(vec![edit]), Duration::ZERO);
        while let Some(ClientOutput::Send(request)) = outputs
            .iter()
            .position(|output| matches!(output, ClientOutput::Send(_)))
            .map(|at| outputs.swap_remove(at))
        {
            let Request::Sync(sync) = Request::parse(&request)? else { return Err("no ClientSync".into()) };
            let mut history = LiveHistory { document: &mut document, tip: &mut tip, agent, meta: &meta };
            let Step { answer: Answer::Sync(mut answer), .. } = server.sync(&sync, &mut history)? else {
                return Err("a resync without corruption".into());
            };
            answer.doc.clone_from(&sync.doc);
            let answer = Response::Sync(answer).to_json();
            outputs = client.handle(ClientInput::Received(answer), Duration::ZERO);
        }
        times.push(started.elapsed());
        if number % 1_000 == 0 && client.text().to_string() != document.text().to_string() {
            return Err(format!("after {number} steps the texts differ").into());
        }
    }
    let spent: Duration = times.iter().sum();
    if client.text().to_string() != document.text().to_string() || !client.is_saved() {
        return Err("the texts differ at the end".into());
    }
    Ok(Measured { summary: Summary::of(&times), per_second: steps as f64 / spent.as_secs_f64() })
}
