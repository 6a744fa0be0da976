//! What git is seen to do in the repositories of the folder.

use super::*;

impl Hub {
    /// git is at work in the repository at this directory: what is saved there in the next moment means
    /// what it says.
    pub(crate) fn note_git(&self, repository: Option<RelPath>) {
        let now = self.uptime();
        let mut git = lock(&self.0.git);
        git.retain(|_, last| now < *last + GIT_REMEMBERED);
        if git.len() < MAX_REPOSITORIES {
            git.insert(repository, now);
        }
    }

    /// Whether git is at work in the repository that this path is in.
    pub(crate) fn git_at_work(&self, path: &RelPath) -> bool {
        self.git_since(path, self.uptime()).is_some()
    }

    /// The repository around this path, if git was at work there at that moment (since the hub's start) or later.
    pub(crate) fn git_since(&self, path: &RelPath, moment: Duration) -> Option<Option<RelPath>> {
        let around = |repository: &Option<RelPath>| repository.as_ref().is_none_or(|top| path.is_below(top));
        let git = lock(&self.0.git);
        let at_work = git.iter().filter(|(top, last)| around(top) && moment < **last + GIT_WINDOW);
        // The innermost: a repository within another is its own.
        at_work.map(|(top, _)| top.clone()).max_by_key(|top| top.as_ref().map_or(0, |top| top.as_str().len()))
    }
}
