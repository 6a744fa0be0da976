//! The hints of a folder in memory: delivered at once, or held and let go by a test.

use crate::queue::HintQueue;
use crate::{DiskError, Hint, RelPath, Watch, What, is_temporary_name};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

#[derive(Default)]
pub(super) struct Hints {
    queues: Vec<Weak<HintQueue>>,
    held: VecDeque<Hint>,
    pub holding: bool,
}

impl Hints {
    pub(super) fn watch(&mut self) -> Box<dyn Watch> {
        let queue = Arc::new(HintQueue::default());
        self.queues.retain(|queue| queue.strong_count() > 0);
        self.queues.push(Arc::downgrade(&queue));
        Box::new(MemoryWatch(queue))
    }

    pub(super) fn say(&mut self, path: &RelPath, what: What) {
        if !is_temporary_name(path.file_name()) {
            self.push(Hint::at(path.clone(), what));
        }
    }

    pub(super) fn push(&mut self, hint: Hint) {
        if self.holding {
            self.held.push_back(hint);
        } else {
            self.deliver(hint);
        }
    }

    fn deliver(&self, hint: Hint) {
        for queue in self.queues.iter().filter_map(Weak::upgrade) {
            queue.push(hint.clone());
        }
    }

    pub(super) fn release(&mut self, count: usize) {
        for _ in 0..count {
            let Some(hint) = self.held.pop_front() else { return };
            self.deliver(hint);
        }
    }

    pub(super) fn drop_held(&mut self, count: usize) -> usize {
        let count = count.min(self.held.len());
        self.held.drain(..count);
        count
    }

    pub(super) fn end(&mut self) {
        for queue in self.queues.drain(..).filter_map(|queue| queue.upgrade()) {
            queue.end();
        }
    }
}

struct MemoryWatch(Arc<HintQueue>);

impl Watch for MemoryWatch {
    fn next(&mut self, timeout: Duration) -> Result<Vec<Hint>, DiskError> {
        self.0.take(timeout)
    }
}
