//! A hub as the simulation has it: documents and a catalogue in memory, and a journal that survives.
//!
//! As in the real one, what concerns one document is done one after the other (here: in its *lane*), and
//! while a commit is under way the lane waits: whatever leaves it afterwards is durable.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use syncline_engine::catalogue::{Catalogue, DocId, Field, Kind, Life, Write};
use syncline_engine::{AgentId, Document, EventBatch, Heads, MergeError, Meta};
use syncline_protocol::replica::{Have, Input, Output, encode_parts};
use syncline_protocol::{ErrorCode, ProtocolError};

use crate::checker::{Checker, FaultKind, View};
use crate::party::{Wish, edit};
use crate::plan::Bug;

/// How many batches are merged as they should be before one is cut, by [`Bug::DroppedRun`].
const GOOD_BATCHES: u64 = 4;

/// A document's lane, or (`None`) that of the folder.
pub type Lane = Option<DocId>;

/// Which connection asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asker {
    /// The connection's leaf.
    pub leaf: usize,
    /// The connection's number.
    pub number: u64,
}

/// Something to be done in a lane.
pub enum Work {
    /// What a link asks for.
    Answer { asker: Asker, output: Output },
    /// A new document.
    Create { doc: DocId },
    /// An edit by somebody who saw a version.
    Type { doc: DocId, seen: Heads, wish: Wish, marker: String },
}

/// What is made durable at once.
enum Record {
    Events { doc: DocId, batch: Vec<u8> },
    Catalogue { writes: Vec<Write>, vector: BTreeMap<AgentId, u64> },
}

/// What is told when a commit has returned.
pub struct Told {
    pub then: Then,
    /// A document that has a new version.
    pub changed: Option<(DocId, Heads)>,
    /// Whether the catalogue changed.
    pub catalogue: bool,
}

/// Who waits for a commit.
pub enum Then {
    /// Nobody.
    Nothing,
    /// A link.
    Feed { asker: Asker, input: Input },
    /// The party that edited.
    Acknowledge { doc: DocId, seen: Heads, inserted: Option<String>, deleted: Vec<String> },
}

/// What came of beginning a piece of work.
pub enum Begun {
    /// It is done.
    Done,
    /// It is done, and this is the answer.
    Feed { asker: Asker, input: Input },
    /// It is done when the commit returns.
    Committing,
}

/// What became of a link's question.
enum Answer {
    None,
    Now(Input),
    After(Record, Input, Option<(DocId, Heads)>),
}

#[derive(Default)]
struct LaneState {
    queue: VecDeque<Work>,
    /// The commit that is under way, and whom to tell.
    record: Option<Record>,
    told: Option<Told>,
    /// Whether its next turn is coming.
    scheduled: bool,
}

/// What survives a crash.
#[derive(Default)]
struct Journal {
    records: Vec<Record>,
    /// Of each agent, how many events of a document are in it.
    events: BTreeMap<(DocId, AgentId), u64>,
}

impl Journal {
    fn append(&mut self, record: Record) {
        if let Record::Events { doc, batch } = &record
            && let Ok(batch) = EventBatch::decode(batch)
        {
            for run in &batch.runs {
                let known = self.events.entry((*doc, run.agent)).or_default();
                *known = (*known).max(run.seq + run.count() as u64);
            }
        }
        self.records.push(record);
    }
}

/// What is rebuilt from a journal.
#[derive(Default)]
struct Memory {
    docs: BTreeMap<DocId, Document>,
    catalogue: Catalogue,
}

impl Memory {
    fn replay(journal: &Journal) -> Result<Memory, String> {
        let mut memory = Memory::default();
        for record in &journal.records {
            match record {
                Record::Events { doc, batch } => {
                    let batch = EventBatch::decode(batch).map_err(|error| error.to_string())?;
                    let document = memory.docs.entry(*doc).or_default();
                    document.merge(&batch).map_err(|error| error.to_string())?;
                }
                Record::Catalogue { writes, vector } => {
                    for write in writes {
                        memory.catalogue.merge(write);
                    }
                    memory.catalogue.merge_vector(vector);
                }
            }
        }
        Ok(memory)
    }

    fn heads(&self) -> BTreeMap<DocId, Heads> {
        let with_events = self.docs.iter().filter(|(_, document)| document.events() > 0);
        with_events.map(|(doc, document)| (*doc, document.portable(document.version()))).collect()
    }

    fn view(&self, place: String) -> View {
        let text = |doc: &DocId| self.docs.get(doc).map(|document| document.text().to_string());
        let documents = self.heads().into_iter().map(|(doc, heads)| {
            let text = text(&doc).unwrap_or_default();
            (doc, (heads, text))
        });
        View { place, documents: documents.collect() }
    }
}

/// One hub.
pub struct Replica {
    pub number: usize,
    pub agent: AgentId,
    /// Increases with every crash: what was begun before is no more.
    pub life: u64,
    pub up: bool,
    memory: Memory,
    journal: Journal,
    lanes: BTreeMap<Lane, LaneState>,
    /// The durable version of every document with events.
    durable: BTreeMap<DocId, Heads>,
    /// The documents that the durable catalogue names.
    known: BTreeSet<DocId>,
    /// How many batches came.
    batches: u64,
}

impl Replica {
    pub fn new(number: usize, agent: AgentId) -> Replica {
        Replica {
            number,
            agent,
            life: 0,
            up: true,
            memory: Memory::default(),
            journal: Journal::default(),
            lanes: BTreeMap::new(),
            durable: BTreeMap::new(),
            known: BTreeSet::new(),
            batches: 0,
        }
    }

    /// The documents in which somebody can edit.
    pub fn known(&self) -> Vec<DocId> {
        self.known.iter().copied().collect()
    }

    /// A document's durable version.
    pub fn heads_of(&self, doc: DocId) -> Heads {
        self.durable.get(&doc).cloned().unwrap_or_default()
    }

    /// How many events of an agent are in the journal.
    pub fn journalled(&self, doc: DocId, agent: AgentId) -> u64 {
        self.journal.events.get(&(doc, agent)).copied().unwrap_or(0)
    }

    /// The lane in which a link's question is answered.
    pub fn lane_of(output: &Output) -> Lane {
        match output {
            Output::AskEvents { doc, .. } | Output::AskVectorOf { doc } | Output::MergeEvents { doc, .. } => {
                Some(*doc)
            }
            _ => None,
        }
    }

    fn lane(&mut self, lane: Lane) -> &mut LaneState {
        self.lanes.entry(lane).or_default()
    }

    /// Adds to a lane's work.
    pub fn enqueue(&mut self, lane: Lane, work: Work) {
        self.lane(lane).queue.push_back(work);
    }

    /// Whether the lane is to be given a turn, which is then coming.
    pub fn wants_turn(&mut self, lane: Lane) -> bool {
        let state = self.lane(lane);
        let wants = state.record.is_none() && !state.scheduled && !state.queue.is_empty();
        state.scheduled |= wants;
        wants
    }

    /// The lane's turn.
    pub fn begin(&mut self, lane: Lane, bug: Option<Bug>, checker: &mut Checker) -> Begun {
        let state = self.lane(lane);
        state.scheduled = false;
        let Some(work) = state.queue.pop_front() else { return Begun::Done };
        let (record, told) = match work {
            Work::Create { doc } => self.create(doc),
            Work::Type { doc, seen, wish, marker } => match self.edit(doc, &seen, wish, marker, checker) {
                Some(edited) => edited,
                None => return Begun::Done,
            },
            Work::Answer { asker, output } => match self.answer(output, bug, checker) {
                Answer::None => return Begun::Done,
                Answer::Now(input) => return Begun::Feed { asker, input },
                Answer::After(record, input, changed) => {
                    let catalogue = changed.is_none();
                    (record, Told { then: Then::Feed { asker, input }, changed, catalogue })
                }
            },
        };
        let state = self.lane(lane);
        state.record = Some(record);
        state.told = Some(told);
        Begun::Committing
    }

    fn create(&mut self, doc: DocId) -> (Record, Told) {
        let fields = [Field::Path(format!("{doc}.txt")), Field::Life(Life::Alive), Field::Kind(Kind::Text)];
        let writes = fields.map(|field| self.memory.catalogue.write(doc, field, self.agent)).to_vec();
        let record = Record::Catalogue { writes, vector: BTreeMap::new() };
        (record, Told { then: Then::Nothing, changed: None, catalogue: true })
    }

    fn edit(
        &mut self,
        doc: DocId,
        seen: &Heads,
        wish: Wish,
        marker: String,
        checker: &mut Checker,
    ) -> Option<(Record, Told)> {
        let document = self.memory.docs.entry(doc).or_default();
        let version = document.known_part(seen);
        let text = document.text_at(&version).to_string();
        let (edit, deleted) = edit(&text, wish, &marker)?;
        let inserted = wish.inserts.then_some(marker);
        checker.asked(doc, inserted.as_deref(), &deleted);
        let applied = match document.edit_at(&version, &[edit], self.agent, &Meta::default()) {
            Ok(applied) => applied,
            Err(error) => {
                checker.fault(FaultKind::GivenUp, format!("an edit at replica {}: {error}", self.number));
                return None;
            }
        };
        let record = Record::Events { doc, batch: document.events_in(applied.events).encode() };
        let heads = document.portable(document.version());
        let seen = document.portable(&applied.version);
        let then = Then::Acknowledge { doc, seen, inserted, deleted };
        Some((record, Told { then, changed: Some((doc, heads)), catalogue: false }))
    }

    fn answer(&mut self, output: Output, bug: Option<Bug>, checker: &mut Checker) -> Answer {
        Answer::Now(match output {
            Output::CheckToken(_) => Input::TokenChecked(Ok(())),
            Output::AskCatalogueVector => Input::CatalogueVector(self.memory.catalogue.vector().clone()),
            Output::AskCatalogueSince(vector) => Input::CatalogueDelta {
                writes: self.memory.catalogue.writes_since(&vector),
                vector: self.memory.catalogue.vector().clone(),
            },
            Output::MergeCatalogue { writes, vector } => {
                for write in &writes {
                    self.memory.catalogue.merge(write);
                }
                self.memory.catalogue.merge_vector(&vector);
                let input = Input::CatalogueMerged { wanted: Vec::new() };
                return Answer::After(Record::Catalogue { writes, vector }, input, None);
            }
            Output::AskHeads => {
                Input::Heads(self.durable.iter().map(|(doc, heads)| (*doc, heads.clone())).collect())
            }
            Output::AskEvents { doc, have } => {
                let document = self.memory.docs.entry(doc).or_default();
                let version = match have {
                    Have::Heads(heads) => document.known_part(&heads),
                    Have::Vector(vector) => document.version_of_vector(&vector),
                };
                let parts = encode_parts(document.events_since(&version));
                Input::Events { doc, parts, heads: document.portable(document.version()) }
            }
            Output::AskVectorOf { doc } => {
                Input::VectorOf { doc, vector: self.memory.docs.entry(doc).or_default().vector() }
            }
            Output::MergeEvents { doc, batch } => return self.merge(doc, &batch, bug, checker),
            Output::AskContent { hash } => Input::ContentLoaded { hash, bytes: None },
            Output::KeepContent { hash, .. } => Input::ContentKept { hash },
            Output::Send(_) | Output::Close(_) | Output::Event(_) => return Answer::None,
        })
    }

    fn merge(&mut self, doc: DocId, batch: &[u8], bug: Option<Bug>, checker: &mut Checker) -> Answer {
        let refused =
            |code| Answer::Now(Input::MergeRefused { doc, error: ProtocolError::new(code, "refused") });
        if self.memory.catalogue.get(&doc).is_none() {
            let what = format!("events overtook the catalogue at replica {}", self.number);
            checker.fault(FaultKind::GivenUp, what);
        }
        let Ok(mut batch) = EventBatch::decode(batch) else { return refused(ErrorCode::BadEvents) };
        self.batches += 1;
        if bug == Some(Bug::DroppedRun) && self.batches.is_multiple_of(GOOD_BATCHES + 1) {
            batch.runs.pop();
        }
        let document = self.memory.docs.entry(doc).or_default();
        let merged = match document.merge(&batch) {
            Ok(merged) => merged,
            Err(MergeError::Missing { .. }) => return refused(ErrorCode::Resync),
            Err(MergeError::Equivocation { .. }) => return refused(ErrorCode::Equivocation),
            Err(_) => return refused(ErrorCode::BadEvents),
        };
        let heads = document.portable(document.version());
        let input = Input::Merged { doc, heads: heads.clone() };
        if merged.events.is_empty() {
            return Answer::Now(input);
        }
        let batch = document.events_in(merged.events).encode();
        Answer::After(Record::Events { doc, batch }, input, Some((doc, heads)))
    }

    /// Whom to tell before the commit has returned: by [`Bug::EarlyAcknowledgement`] only.
    pub fn tell_early(&mut self, lane: Lane) -> Option<Told> {
        let told = self.lane(lane).told.take()?;
        self.publish(&told);
        Some(told)
    }

    /// The lane's commit has returned.
    pub fn committed(&mut self, lane: Lane) -> Option<Told> {
        let state = self.lane(lane);
        let told = state.told.take();
        if let Some(record) = state.record.take() {
            self.journal.append(record);
        }
        self.publish(told.as_ref()?);
        told
    }

    fn publish(&mut self, told: &Told) {
        if let Some((doc, heads)) = &told.changed {
            self.durable.insert(*doc, heads.clone());
        }
        if told.catalogue {
            self.known = self.memory.catalogue.iter().map(|(doc, _)| *doc).collect();
        }
    }

    /// kill -9: only the journal is left. Of the commits under way, those are in it that `kept` says so of.
    pub fn crash(&mut self, mut kept: impl FnMut() -> bool) {
        for state in std::mem::take(&mut self.lanes).into_values() {
            if let Some(record) = state.record
                && kept()
            {
                self.journal.append(record);
            }
        }
        self.memory = Memory::default();
        self.durable.clear();
        self.known.clear();
        self.life += 1;
        self.up = false;
    }

    /// Starts again from the journal, under a new agent.
    pub fn restart(&mut self, agent: AgentId, checker: &mut Checker) {
        match Memory::replay(&self.journal) {
            Ok(memory) => self.memory = memory,
            Err(error) => {
                checker.fault(FaultKind::Damaged, format!("the journal of replica {}: {error}", self.number));
            }
        }
        self.agent = agent;
        self.durable = self.memory.heads();
        self.known = self.memory.catalogue.iter().map(|(doc, _)| *doc).collect();
        self.up = true;
    }

    /// What is in memory and what the journal would give.
    pub fn views(&self, checker: &mut Checker) -> Vec<View> {
        let mut views = vec![self.memory.view(format!("replica {}", self.number))];
        match Memory::replay(&self.journal) {
            Ok(memory) => views.push(memory.view(format!("the journal of replica {}", self.number))),
            Err(error) => {
                checker.fault(FaultKind::Damaged, format!("the journal of replica {}: {error}", self.number));
            }
        }
        views
    }
}
