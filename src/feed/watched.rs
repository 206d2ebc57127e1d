//! One user who is watched: what is known, and how the subscriptions are told.

use std::sync::{Arc, Weak};

use tokio::sync::watch;

use crate::store::{Committed, Head};

/// How far a user is known, as the subscriptions see it.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) head: Head,
    /// Rises when the table went back.
    pub(super) epoch: u64,
    /// What stands at the head, if it came in while the user was watched and the ring still has it. Who waits for just
    /// this one needs no look into the ring, which all share.
    pub(super) last: Weak<Committed>,
    /// Nothing more comes.
    pub(super) is_closed: bool,
}

/// A user who is watched.
pub(super) struct Watched {
    /// None until the first read.
    pub(super) known: Option<Head>,
    /// Rises when the table went back.
    epoch: u64,
    /// What stands there.
    last: Weak<Committed>,
    /// The epoch and the head of which the subscriptions have been told.
    told: (u64, Head),
    pub(super) standing: Arc<watch::Sender<Standing>>,
    pub(super) subscribers: usize,
    /// No check has asked for it yet.
    pub(super) is_fresh: bool,
    /// Something came before the first read was back: it may not show it.
    pub(super) is_torn: bool,
}

impl Watched {
    /// Of whom nothing is known yet.
    pub(super) fn new(is_closed: bool) -> Self {
        let standing = Standing { head: Head::START, epoch: 0, last: Weak::new(), is_closed };
        Self {
            known: None,
            epoch: 0,
            last: Weak::new(),
            told: (0, Head::START),
            standing: Arc::new(watch::Sender::new(standing)),
            subscribers: 0,
            is_fresh: true,
            is_torn: false,
        }
    }

    pub(super) fn push(&mut self, entry: &Arc<Committed>) {
        self.known = Some(Head::of(&entry.record));
        self.last = Arc::downgrade(entry);
    }

    /// What came in otherwise.
    pub(super) fn set(&mut self, head: Head) {
        self.known = Some(head);
        self.last = Weak::new();
    }

    /// The table went back: each subscription has to look whether it still stands.
    pub(super) fn set_back(&mut self, head: Head) {
        self.epoch += 1;
        self.set(head);
    }

    /// What to tell the subscriptions, once the lock is given back: each of them will want it, too.
    pub(super) fn news(&mut self) -> Option<News> {
        let head = self.known.filter(|head| (self.epoch, *head) != self.told)?;
        self.told = (self.epoch, head);
        let (epoch, last, standing) = (self.epoch, Weak::clone(&self.last), Arc::clone(&self.standing));
        Some(News { standing, head, epoch, last })
    }
}

/// What the subscriptions of a user are to be told.
pub(super) struct News {
    standing: Arc<watch::Sender<Standing>>,
    head: Head,
    epoch: u64,
    last: Weak<Committed>,
}

impl News {
    /// Unless they have been told of something newer meanwhile.
    pub(super) fn tell(self) {
        self.standing.send_if_modified(|standing| {
            let is_newer = (self.epoch, self.head.position) > (standing.epoch, standing.head.position);
            if is_newer {
                (standing.epoch, standing.head, standing.last) = (self.epoch, self.head, self.last);
            }
            is_newer
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::ring::tests::entry;
    use super::*;

    #[test]
    fn news_that_come_late_take_nothing_back_unless_the_table_went_back() {
        let mut watched = Watched::new(false);
        let entries = [entry("u", "t", 1), entry("u", "t", 2)];
        let news = entries.each_ref().map(|entry| {
            watched.push(entry);
            watched.news().unwrap()
        });
        assert!(watched.news().is_none(), "they are told once");
        watched.set_back(Head::of(&entries[0].record));
        let back = watched.news().unwrap();
        let standing = watched.standing.subscribe();
        let told = || (standing.borrow().epoch, standing.borrow().head.position, standing.borrow().last.strong_count());
        let [first, second] = news;
        second.tell();
        assert_eq!(told(), (0, 2, 1));
        first.tell();
        assert_eq!(told(), (0, 2, 1));
        back.tell();
        assert_eq!(told(), (1, 1, 0));
    }
}
