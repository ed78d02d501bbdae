//! Replies in the order of the requests, although some come from other cores.
//!
//! A reply made here is written straight behind the ones before it. A request that went to another
//! core, or one that is answered in steps, leaves a *seat*; what is answered after it waits behind the seat, and moves up
//! when the seat is filled. A connection all of whose keys live on its own core never has a seat, and pays
//! for none.

use std::collections::VecDeque;

/// The replies of one connection that have not left yet.
#[derive(Default)]
pub struct Replies {
    ready: Vec<u8>,
    seats: VecDeque<Seat>,
    /// The number of the first seat.
    first: u32,
    waiting: usize,
    /// Bytes behind all seats but the last.
    behind: usize,
    /// What waits for a reply that leaves no seat.
    later: Vec<u8>,
}

#[derive(Default)]
struct Seat {
    /// Its reply, or what is there of it.
    reply: Vec<u8>,
    filled: bool,
    /// Replies made here behind this seat.
    behind: Vec<u8>,
}

impl Replies {
    /// Where the next reply is written.
    #[inline]
    pub fn writer(&mut self) -> &mut Vec<u8> {
        match self.seats.back_mut() {
            None => &mut self.ready,
            Some(seat) => &mut seat.behind,
        }
    }

    /// Leaves a seat for a reply that will come; the number fills it.
    pub fn leave_seat(&mut self) -> u32 {
        let number = self.first.wrapping_add(self.seats.len() as u32);
        self.behind += self.seats.back().map_or(0, |seat| seat.behind.len());
        self.seats.push_back(Seat::default());
        number
    }

    /// Fills a seat. A number that was never given out, or twice filled, is ignored.
    pub fn fill(&mut self, number: u32, reply: &[u8]) {
        let at = number.wrapping_sub(self.first) as usize;
        if at == 0 && !self.seats.is_empty() {
            self.ready.extend_from_slice(reply);
            self.leave_first();
            while self.seats.front().is_some_and(|seat| seat.filled) {
                self.leave_first();
            }
        } else if let Some(seat) = self.seats.get_mut(at)
            && !seat.filled
        {
            self.waiting += reply.len();
            seat.reply.extend_from_slice(reply);
            seat.filled = true;
        }
    }

    /// Gives a seat a part of its reply; [`Replies::fill`] gives the rest.
    pub fn fill_part(&mut self, number: u32, part: &[u8]) {
        let at = number.wrapping_sub(self.first) as usize;
        if at == 0 && !self.seats.is_empty() {
            self.ready.extend_from_slice(part);
        } else if let Some(seat) = self.seats.get_mut(at)
            && !seat.filled
        {
            self.waiting += part.len();
            seat.reply.extend_from_slice(part);
        }
    }

    /// Where bytes are written that nobody asked for while a reply is under way that leaves no seat.
    pub fn later(&mut self) -> &mut Vec<u8> {
        &mut self.later
    }

    /// That reply is written: what waited for it goes behind it.
    pub fn catch_up(&mut self) {
        if !self.later.is_empty() {
            let later = std::mem::take(&mut self.later);
            self.writer().extend_from_slice(&later);
        }
    }

    fn leave_first(&mut self) {
        if let Some(seat) = self.seats.pop_front() {
            if !self.seats.is_empty() {
                self.behind -= seat.behind.len();
            }
            self.ready.extend_from_slice(&seat.behind);
            self.first = self.first.wrapping_add(1);
        }
        // What is there of the reply that is first now, whole or not, is ready.
        if let Some(seat) = self.seats.front_mut() {
            let reply = std::mem::take(&mut seat.reply);
            self.waiting -= reply.len();
            self.ready.extend_from_slice(&reply);
        }
    }

    /// Requests whose replies are still to come.
    pub fn open(&self) -> usize {
        self.seats.len()
    }

    /// Whether every request has its reply.
    pub fn settled(&self) -> bool {
        self.seats.is_empty()
    }

    /// The replies that may leave now.
    pub fn ready(&mut self) -> &mut Vec<u8> {
        &mut self.ready
    }

    /// Bytes kept, ready or not.
    pub fn bytes(&self) -> usize {
        let last = self.seats.back().map_or(0, |seat| seat.behind.len());
        self.ready.len() + self.waiting + self.behind + last + self.later.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_asked_for_waits_for_the_reply_under_way() {
        let mut r = Replies::default();
        let seat = r.leave_seat();
        r.later().extend_from_slice(b"c");
        assert_eq!(r.bytes(), 1);
        r.writer().extend_from_slice(b"b");
        r.catch_up();
        r.fill(seat, b"a");
        assert_eq!(r.ready(), b"abc");
        assert_eq!(r.bytes(), 3);
    }

    #[test]
    fn a_reply_in_parts_leaves_as_it_comes_when_it_is_first() {
        let mut r = Replies::default();
        let one = r.leave_seat();
        let two = r.leave_seat();
        let three = r.leave_seat();
        r.writer().extend_from_slice(b"z");
        r.fill_part(two, b"c");
        r.fill_part(two, b"d");
        r.fill(three, b"f");
        r.fill_part(one, b"a");
        assert_eq!((r.bytes(), r.ready().as_slice()), (5, &b"a"[..]));
        r.fill(one, b"b");
        assert_eq!((r.bytes(), r.ready().as_slice()), (6, &b"abcd"[..]));
        r.fill_part(two, b"e");
        r.fill(two, b"");
        assert_eq!((r.bytes(), r.ready().as_slice()), (7, &b"abcdefz"[..]));
        assert!(r.settled());
        r.fill_part(two, b"late");
        assert_eq!(r.ready(), b"abcdefz");
    }

    #[test]
    fn replies_leave_in_the_order_of_the_requests() {
        let mut r = Replies::default();
        r.writer().extend_from_slice(b"a");
        let one = r.leave_seat();
        r.writer().extend_from_slice(b"c");
        let two = r.leave_seat();
        let three = r.leave_seat();
        r.writer().extend_from_slice(b"f");
        assert_eq!(r.ready(), b"a");
        r.fill(three, b"e");
        r.fill(two, b"d");
        assert_eq!(r.ready(), b"a");
        assert_eq!(r.bytes(), 5);
        r.fill(one, b"b");
        assert_eq!(r.ready(), b"abcdef");
        assert!(r.settled());
        assert_eq!(r.bytes(), 6);
        r.fill(one, b"again");
        assert_eq!(r.ready(), b"abcdef");
    }
}
