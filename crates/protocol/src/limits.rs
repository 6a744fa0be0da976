//! Every limit of every channel, in one place. A limit is checked before anything is allocated for what it
//! limits; what goes beyond is refused with an error, never cut.

use std::time::Duration;

/// The longest text or content of one document, in bytes; the same on every channel.
pub const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// The longest message on a `replica` connection after authentication, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 96 << 20;

/// Events are sent in parts of about this many bytes; far enough below [`MAX_MESSAGE_BYTES`] that a run's
/// numbers and names fit beside its text, and above [`MAX_DOCUMENT_BYTES`] so that one save stays whole.
pub const MAX_PART_BYTES: usize = 80 << 20;

/// The longest message on a `content` connection, in bytes: a whole text, escaped as JSON.
pub const MAX_CONTENT_MESSAGE: usize = 96 << 20;

/// All that a connection may send before it has said who it is, in bytes.
pub const MAX_BEFORE_HELLO: usize = 16 << 10;

/// How long a connection may take to say who it is.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the first byte and the head of a request may take.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a connection is pinged.
pub const PING: Duration = Duration::from_secs(20);

/// A connection from which nothing came for so long is closed.
pub const IDLE_CLOSE: Duration = Duration::from_secs(45);

/// A connection that takes none of what is sent to it for so long is closed.
pub const PROGRESS_CLOSE: Duration = Duration::from_secs(30);

/// The first pause before dialing again; it doubles from here.
pub const MIN_BACK_OFF: Duration = Duration::from_millis(200);

/// The longest pause before dialing again.
pub const MAX_BACK_OFF: Duration = Duration::from_secs(60);

/// How many `Events` messages may be under way to a peer without its acknowledgement.
pub const MAX_IN_FLIGHT: usize = 256;

/// No further `Events` are sent while so many bytes of them are under way. One message may go beyond.
pub const MAX_IN_FLIGHT_BYTES: usize = 8 << 20;

/// How many documents are asked for their events at once, on behalf of one connection.
pub const MAX_ASKS: usize = 16;

/// How many `Vector`s may wait for their answer.
pub const MAX_VECTORS: usize = 128;

/// How many documents one `Have` names at most.
pub const MAX_HAVE: usize = 1_000;

/// How many writes one `Catalogue` carries at most.
pub const MAX_WRITES: usize = 1_000;

/// How many documents a peer may name in all its `Have`s together.
pub const MAX_DOCUMENTS: usize = 1_000_000;

/// How many agents a vector may name.
pub const MAX_AGENTS: usize = 1 << 16;

/// How many catalogue messages may wait for their turn to be journalled.
pub const MAX_CATALOGUES_WAITING: usize = 4_096;

/// The longest piece of a content in one message, in bytes.
pub const MAX_CHUNK: usize = 1 << 20;

/// How many contents are asked for at once.
pub const MAX_WANTS: usize = 16;

/// How often events that build on unknown ones are asked for again before the document is given up.
pub const MAX_RESYNCS: u8 = 3;

/// The longest name of a party, in bytes.
pub const MAX_NAME: usize = 256;

/// The longest error message taken from a peer, in bytes.
pub const MAX_ERROR_TEXT: usize = 1_024;

/// The longest path of a document in a `content` message, in bytes.
pub const MAX_PATH: usize = 4_096;

/// The longest `request_id` or `base`, in bytes.
pub const MAX_REQUEST_ID: usize = 4_096;

/// How many edits one `edit_request` may carry.
pub const MAX_EDITS: usize = 1 << 16;

/// How many sessions of one document are told of each other.
pub const MAX_PRESENT: usize = 64;

/// How many documents an answer to `list` names.
pub const MAX_LISTED: usize = 10_000;

/// How deeply JSON may be nested.
pub const MAX_DEPTH: usize = 16;

/// The longest line or message on a `diffsync` connection, in bytes; a whole text, escaped as JSON. Also what
/// a compressed one may unpack to.
pub const MAX_LINE: usize = MAX_CONTENT_MESSAGE;

/// How many edits one `ClientSync` may carry: a client whose messages get lost adds one each time it tries.
pub const MAX_SYNC_EDITS: usize = 64;

/// How many steps all deltas of one message may have. A change of more places is sent as one replacement.
pub const MAX_DELTA_STEPS: usize = 1 << 17;

/// How many edits a `diffsync` client whose requests wait is told at most without acknowledging one.
pub const MAX_TOLD: usize = 16;

/// After so many at the latest it acknowledges them. Each client has its own number, so that a thousand of them do not
/// do it all at once.
pub const ACKNOWLEDGE_AFTER: std::ops::RangeInclusive<u8> = 5..=12;

/// How many documents one `diffsync` connection may have open.
pub const MAX_OPEN_DOCUMENTS: usize = 16;

/// How many compressions a `Connect` may offer.
pub const MAX_PACKINGS: usize = 8;

/// `diffsync` messages of fewer bytes are not compressed: it would cost more than it saves.
pub const MIN_PACKED: usize = 1 << 10;

/// How many changes an answer to `History` names.
pub const MAX_HISTORY: usize = 100;

/// A `diffsync` peer that says nothing else sends a `Ping` this often.
pub const HEARTBEAT: Duration = Duration::from_secs(30);

/// A `diffsync` connection from which nothing came for so long is closed; its session is kept.
pub const SILENCE_CLOSE: Duration = Duration::from_secs(120);

/// For so long the parts of one `diffsync` message are signs of life: the longest takes 13 minutes at 1 Mbit/s.
pub const LONGEST_ARRIVAL: Duration = Duration::from_secs(15 * 60);

/// How long a `diffsync` client waits for an answer before it sends again; it doubles up to
/// [`MAX_ANSWER_WAIT`].
pub const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// The longest wait for an answer.
pub const MAX_ANSWER_WAIT: Duration = Duration::from_secs(16);

/// How often a `diffsync` client asks for news if no `Poke` comes; it doubles while nothing happens.
pub const POLL: Duration = Duration::from_millis(500);

/// The longest pause between two such questions.
pub const MAX_POLL: Duration = Duration::from_secs(15);

/// How long a `diffsync` session that nobody uses is kept.
pub const SESSION_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
