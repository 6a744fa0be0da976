//! What can be said to `syncline local`.

use clap::ValueEnum;
use std::path::PathBuf;
use std::time::Duration;

use super::{OnConflict, duration};

/// How to take part on this machine.
#[derive(clap::Args, Debug)]
pub struct LocalArgs {
    /// Who you are: 1 to 32 letters, digits, '-', '_' and '.'.
    pub name: String,
    /// Where the copy is.
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    /// Share all files of the folder instead of one document.
    #[arg(long)]
    pub folder: bool,
    /// How many may take part, at most 64.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub max_users: u8,
    /// Broadcast after so many operations (changed places).
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// Broadcast at the latest so many milliseconds after the last broadcast; `never`: only when there are as many
    /// operations.
    #[arg(long, value_name = "T", default_value = "2", value_parser = flush)]
    pub flush_ms: Flush,
    /// Look at the file this often (`2s`, `500ms`) instead of being told of changes by the kernel.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub poll: Option<Duration>,
    /// What becomes of changes that two people made at one place without knowing of each other's.
    #[arg(long, default_value = "merge")]
    pub on_conflict: OnConflict,
    /// By which way to reach the others. Without it: shared memory where both sides have it, otherwise queues.
    #[arg(long)]
    pub transport: Option<Way>,
    /// Only those who name the same group meet.
    #[arg(long, default_value = "default")]
    pub group: String,
    /// Join a shared folder elsewhere at the same time: everybody here is then connected with everybody there.
    #[arg(long, value_name = "LINK")]
    pub join: Option<String>,
}

/// When what waits is broadcast though it is not much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flush(pub Option<Duration>);

/// By which way users reach each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Way {
    /// POSIX message queues.
    Mq,
    /// Shared memory.
    Shm,
}

fn flush(text: &str) -> Result<Flush, String> {
    if text == "never" {
        return Ok(Flush(None));
    }
    let wrong = |_| "a number of milliseconds, or never".to_owned();
    text.parse::<u32>().map(|ms| Flush(Some(Duration::from_millis(u64::from(ms))))).map_err(wrong)
}
