//! A world: replicas, connections, parties and a clock, moved on by one happening after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use syncline_engine::catalogue::DocId;
use syncline_engine::{AgentId, EventBatch};
use syncline_protocol::Token;
use syncline_protocol::replica::{Input, Link, LinkEvent, Local, Message, Output, Role};

use crate::checker::{Checker, Fault, FaultKind, View};
use crate::network::{End, Wire};
use crate::party::{Party, Wish, marker};
use crate::plan::{Action, Bug, Plan};
use crate::replica::{Asker, Begun, Lane, Replica, Then, Told, Work};
use crate::trace::Trace;

/// How long connections are kept ticking after the last action, in milliseconds: longer than anything waits.
const SETTLING: u64 = 30_000;
/// How often a connection hears that time passes, in milliseconds.
const TICK: u64 = 1_000;
/// A world with more happenings than this goes round in circles.
const MANY: u64 = 1_000_000;
/// All replicas keep this folder.
const FOLDER: [u8; 16] = [9; 16];

/// What came of a world.
pub struct Outcome {
    /// The hash of all that happened.
    pub trace: String,
    /// How much happened.
    pub happenings: u64,
    /// What is wrong: nothing, if all is well.
    pub faults: Vec<Fault>,
    /// What the checker was told.
    pub checker: Checker,
    /// What the replicas and their journals have at the end.
    pub views: Vec<View>,
}

/// Runs a world to its end.
pub fn run(plan: &Plan) -> Outcome {
    World::new(plan.clone(), None).run()
}

/// Runs a world whose replicas have a bug.
#[cfg(feature = "planted")]
pub fn run_planted(plan: &Plan, bug: Bug) -> Outcome {
    World::new(plan.clone(), Some(bug)).run()
}

/// Something that happens at a time.
enum Happening {
    /// An action of the plan.
    Planned(Action),
    /// A leaf dials.
    Dial { leaf: usize },
    /// A message arrives.
    Arrive { leaf: usize, number: u64, to: End, bytes: Vec<u8> },
    /// What an end sent has left.
    Drained { leaf: usize, number: u64, end: End },
    /// Time passes for a connection.
    Tick { leaf: usize, number: u64 },
    /// A lane's turn.
    Turn { replica: usize, life: u64, lane: Lane },
    /// A lane's commit returns.
    Committed { replica: usize, life: u64, lane: Lane },
    /// A replica starts again.
    Restart { replica: usize },
}

struct World {
    plan: Plan,
    bug: Option<Bug>,
    rng: fastrand::Rng,
    /// Milliseconds.
    now: u64,
    /// By time, then by the order in which they were scheduled.
    queue: BTreeMap<(u64, u64), Happening>,
    scheduled: u64,
    happenings: u64,
    replicas: Vec<Replica>,
    /// One at each replica.
    parties: Vec<Party>,
    /// That of leaf 1 first.
    wires: Vec<Wire>,
    markers: u64,
    checker: Checker,
    trace: Trace,
}

impl World {
    fn new(plan: Plan, bug: Option<Bug>) -> World {
        // Not the stream that the plan was drawn from.
        let mut rng = fastrand::Rng::with_seed(plan.seed ^ 0x5eed_0fa1_1b17_5000);
        let replicas: Vec<Replica> = (0..plan.replicas)
            .map(|number| Replica::new(number, AgentId::from_random(rng.u128(..))))
            .collect();
        World {
            bug,
            now: 0,
            queue: BTreeMap::new(),
            scheduled: 0,
            happenings: 0,
            parties: replicas.iter().map(|_| Party::default()).collect(),
            wires: (1..plan.replicas).map(|_| Wire::default()).collect(),
            replicas,
            markers: 0,
            checker: Checker::default(),
            trace: Trace::default(),
            rng,
            plan,
        }
    }

    fn run(mut self) -> Outcome {
        for planned in self.plan.actions.clone() {
            self.schedule(planned.at, Happening::Planned(planned.action));
        }
        for leaf in 1..self.plan.replicas {
            self.later((0, 50), Happening::Dial { leaf });
        }
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            self.now = at;
            self.happenings += 1;
            if self.happenings > MANY {
                self.checker.fault(FaultKind::Restless, "it does not come to rest");
                break;
            }
            self.happen(happening);
        }
        self.finish()
    }

    fn finish(mut self) -> Outcome {
        let mut views = Vec::new();
        for replica in &self.replicas {
            if !replica.up {
                self.checker.fault(FaultKind::Restless, format!("replica {} is down", replica.number));
            }
            views.extend(replica.views(&mut self.checker));
        }
        if !self.wires.iter().all(Wire::is_up) {
            self.checker.fault(FaultKind::Restless, "a connection is down at the end");
        }
        for view in &views {
            self.trace.note(format_args!("{view:?}"));
        }
        Outcome {
            trace: self.trace.finish(),
            happenings: self.happenings,
            faults: self.checker.judge(&views),
            checker: self.checker,
            views,
        }
    }

    fn schedule(&mut self, at: u64, happening: Happening) {
        self.scheduled += 1;
        self.queue.insert((at, self.scheduled), happening);
    }

    /// Schedules between two numbers of milliseconds from now.
    fn later(&mut self, (least, most): (u64, u64), happening: Happening) {
        let at = self.now + self.rng.u64(least..=most);
        self.schedule(at, happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Planned(action) => self.act(action),
            Happening::Dial { leaf } => self.dial(leaf),
            Happening::Arrive { leaf, number, to, bytes } => self.arrive(Asker { leaf, number }, to, &bytes),
            Happening::Drained { leaf, number, end } => {
                self.feed(Asker { leaf, number }, end, Input::Drained);
            }
            Happening::Tick { leaf, number } => {
                if self.wires[leaf - 1].is_up() && self.wires[leaf - 1].number() == number {
                    for end in End::BOTH {
                        self.feed(Asker { leaf, number }, end, Input::Tick);
                    }
                    if self.now < self.plan.end() + SETTLING {
                        self.later((TICK, TICK), Happening::Tick { leaf, number });
                    }
                }
            }
            Happening::Turn { replica, life, lane } if self.replicas[replica].life == life => {
                self.turn(replica, lane);
            }
            Happening::Committed { replica, life, lane } if self.replicas[replica].life == life => {
                self.trace.note(format_args!("{} commit of {lane:?} at {replica}", self.now));
                let told = self.replicas[replica].committed(lane);
                self.tell(replica, told);
                self.give_turn(replica, lane);
            }
            // Begun before the crash.
            Happening::Turn { .. } | Happening::Committed { .. } => {}
            Happening::Restart { replica } => {
                self.trace.note(format_args!("{} restart of {replica}", self.now));
                let agent = AgentId::from_random(self.rng.u128(..));
                self.replicas[replica].restart(agent, &mut self.checker);
            }
        }
    }

    // ---- what the plan wants ----

    fn act(&mut self, action: Action) {
        self.trace.note(format_args!("{} {action:?}", self.now));
        match action {
            Action::Create { replica } => {
                if self.replicas[replica].up {
                    let doc = DocId(self.rng.u128(..).to_be_bytes());
                    self.enqueue(replica, None, Work::Create { doc });
                }
            }
            Action::Type { replica, wish } => self.type_at(replica, wish),
            Action::Cut { leaf } => self.cut(leaf),
            Action::Crash { replica } => self.crash(replica),
        }
    }

    fn type_at(&mut self, replica: usize, wish: Wish) {
        let docs = self.replicas[replica].known();
        // Nothing is known while it is down.
        let Some(&doc) = docs.get(wish.document % docs.len().max(1)) else { return };
        let newest = self.replicas[replica].heads_of(doc);
        let seen = self.parties[replica].version(doc, newest, wish.stale);
        self.markers += 1;
        let marker = marker(self.markers);
        self.enqueue(replica, Some(doc), Work::Type { doc, seen, wish, marker });
    }

    fn crash(&mut self, replica: usize) {
        if !self.replicas[replica].up {
            return;
        }
        let rng = &mut self.rng;
        self.replicas[replica].crash(|| rng.bool());
        for (leaf, _) in self.ends_of(replica) {
            self.cut(leaf);
        }
        self.later((20, 800), Happening::Restart { replica });
    }

    // ---- connections ----

    /// The connections of a replica, by their leaf, and which end of them it is.
    fn ends_of(&self, replica: usize) -> Vec<(usize, End)> {
        match replica {
            0 => (1..self.plan.replicas).map(|leaf| (leaf, End::Centre)).collect(),
            leaf => vec![(leaf, End::Leaf)],
        }
    }

    fn replica_at(leaf: usize, end: End) -> usize {
        match end {
            End::Centre => 0,
            End::Leaf => leaf,
        }
    }

    fn cut(&mut self, leaf: usize) {
        if self.wires[leaf - 1].cut() {
            self.trace.note(format_args!("{} cut of {leaf}", self.now));
            self.later((10, 400), Happening::Dial { leaf });
        }
    }

    fn dial(&mut self, leaf: usize) {
        if !(self.replicas[0].up && self.replicas[leaf].up) {
            return self.later((50, 400), Happening::Dial { leaf });
        }
        let local = |replica: &Replica| Local {
            agent: replica.agent,
            folder: Some(FOLDER),
            name: format!("replica {}", replica.number),
            single_file: false,
        };
        let centre = Link::new(Role::Accepting, local(&self.replicas[0]));
        let role = Role::Dialing { token: Token::from_random([1; 32]) };
        let dialing = Link::new(role, local(&self.replicas[leaf]));
        let wire = &mut self.wires[leaf - 1];
        wire.connect(centre, dialing);
        let number = wire.number();
        self.trace.note(format_args!("{} connection {number} of {leaf}", self.now));
        for end in End::BOTH {
            self.feed(Asker { leaf, number }, end, Input::Opened);
        }
        self.later((TICK, TICK), Happening::Tick { leaf, number });
    }

    fn arrive(&mut self, asker: Asker, to: End, bytes: &[u8]) {
        let hash = blake3::hash(bytes);
        self.trace.note(format_args!("{} {asker:?} {to:?} {hash}", self.now));
        match Message::decode(bytes) {
            Ok(message) => self.feed(asker, to, Input::Received(message)),
            Err(error) => self.checker.fault(FaultKind::GivenUp, format!("an unreadable message: {error}")),
        }
    }

    /// Tells a link what happened, and does what it says.
    fn feed(&mut self, asker: Asker, end: End, input: Input) {
        let Asker { leaf, number } = asker;
        let now = Duration::from_millis(self.now);
        let Some(link) = self.wires[leaf - 1].link(number, end) else { return };
        let outputs = link.handle(input, now);
        let replica = World::replica_at(leaf, end);
        let mut sent = false;
        for output in outputs {
            match output {
                Output::Send(message) => {
                    sent = true;
                    self.send(asker, end, &message);
                }
                Output::Close(error) => {
                    let what = format!("the connection of {leaf}, by replica {replica}: {error:?}");
                    self.checker.fault(FaultKind::GivenUp, what);
                    return self.cut(leaf);
                }
                Output::Event(LinkEvent::DocumentRefused { doc, error }) => {
                    let what = format!("document {doc}, by replica {replica}: {error}");
                    self.checker.fault(FaultKind::GivenUp, what);
                }
                Output::Event(_) => {}
                ask => self.enqueue(replica, Replica::lane_of(&ask), Work::Answer { asker, output: ask }),
            }
        }
        if sent {
            self.later((0, 5), Happening::Drained { leaf, number, end });
        }
    }

    fn send(&mut self, asker: Asker, end: End, message: &Message) {
        let Asker { leaf, number } = asker;
        self.check_durable(World::replica_at(leaf, end), message);
        let (least, most) = self.plan.latency;
        let to = end.other();
        let at = self.now + self.rng.u64(least..=most);
        let at = self.wires[leaf - 1].arrival(to, at);
        self.schedule(at, Happening::Arrive { leaf, number, to, bytes: message.encode() });
    }

    /// What leaves a replica must be in its journal (docs/decisions/0005-acknowledgement.md).
    fn check_durable(&mut self, number: usize, message: &Message) {
        let replica = &self.replicas[number];
        let early = match message {
            Message::Events { doc, batch, .. } => EventBatch::decode(batch).is_ok_and(|batch| {
                batch.runs.iter().any(|run| {
                    replica.journalled(*doc, run.agent) < run.seq.saturating_add(run.count() as u64)
                })
            }),
            Message::Ack { doc, heads } => {
                heads.ids().iter().any(|id| replica.journalled(*doc, id.agent) <= id.seq)
            }
            _ => false,
        };
        if early {
            let what = if matches!(message, Message::Ack { .. }) { "an acknowledgement" } else { "events" };
            self.checker.fault(FaultKind::Early, format!("{what} of replica {number}"));
        }
    }

    // ---- lanes ----

    fn enqueue(&mut self, replica: usize, lane: Lane, work: Work) {
        self.replicas[replica].enqueue(lane, work);
        self.give_turn(replica, lane);
    }

    fn give_turn(&mut self, replica: usize, lane: Lane) {
        if self.replicas[replica].wants_turn(lane) {
            let life = self.replicas[replica].life;
            self.later((0, 3), Happening::Turn { replica, life, lane });
        }
    }

    fn turn(&mut self, replica: usize, lane: Lane) {
        match self.replicas[replica].begin(lane, self.bug, &mut self.checker) {
            Begun::Done => {}
            Begun::Feed { asker, input } => self.feed(asker, self.end_at(replica), input),
            Begun::Committing => {
                let life = self.replicas[replica].life;
                self.later(self.plan.commit, Happening::Committed { replica, life, lane });
                if self.bug == Some(Bug::EarlyAcknowledgement) {
                    let told = self.replicas[replica].tell_early(lane);
                    self.tell(replica, told);
                }
            }
        }
        self.give_turn(replica, lane);
    }

    fn end_at(&self, replica: usize) -> End {
        if replica == 0 { End::Centre } else { End::Leaf }
    }

    /// A commit has returned: now others may know.
    fn tell(&mut self, replica: usize, told: Option<Told>) {
        let Some(Told { then, changed, catalogue }) = told else { return };
        let mut then = Some(then);
        // Whoever waits may hear of it first or last.
        if self.rng.bool()
            && let Some(then) = then.take()
        {
            self.answer(replica, then);
        }
        for (leaf, end) in self.ends_of(replica) {
            let asker = Asker { leaf, number: self.wires[leaf - 1].number() };
            if catalogue {
                self.feed(asker, end, Input::CatalogueChanged);
            }
            if let Some(changed) = &changed {
                self.feed(asker, end, Input::DocumentsChanged(vec![changed.clone()]));
            }
        }
        if let Some(then) = then {
            self.answer(replica, then);
        }
    }

    fn answer(&mut self, replica: usize, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Feed { asker, input } => self.feed(asker, self.end_at(replica), input),
            Then::Acknowledge { doc, seen, inserted, deleted } => {
                self.checker.acknowledged(inserted.as_deref(), &deleted);
                self.parties[replica].remember(doc, seen);
            }
        }
    }
}
