//! What the node asks of a network card.

use crate::{Frame, Instant};

/// A network card. Frames move by value; only [`Nic::kick`] may touch a doorbell.
///
/// The wire bytes of a frame (`Frame::wire`) are a whole Ethernet frame from
/// the destination address on, without FCS.
pub trait Nic {
    /// Our Ethernet address.
    fn mac(&self) -> [u8; 6];

    /// Payload bytes the link carries (1500, 9000). May change in [`Nic::tick`].
    fn mtu(&self) -> u16;

    /// Whether there is a link. May change in [`Nic::tick`].
    fn link_up(&self) -> bool;

    /// How many frames this card can hold on each side without a backlog.
    fn ring_frames(&self) -> usize;

    /// Lends an empty frame to receive into. Seen by the device after the next kick.
    fn post(&mut self, frame: Frame);

    /// The next received frame, in order of arrival, its length set.
    fn poll_rx(&mut self) -> Option<Frame>;

    /// When the ring of received frames was last seen empty, asked at `now` when
    /// [`poll_rx`](Self::poll_rx) has just found nothing: what comes later arrived later.
    fn seen_empty(&self, now: Instant) -> Instant {
        now
    }

    /// Sends the frame's wire bytes. Seen by the device after the next kick.
    fn send(&mut self, frame: Frame);

    /// As [`send`](Self::send), for a frame that is to receive again afterwards. A card
    /// may see to that itself, unless the frame `is_wanted` back. True if it comes back
    /// by [`poll_sent`](Self::poll_sent).
    #[inline(always)]
    fn send_off(&mut self, frame: Frame, is_wanted: impl FnOnce() -> bool) -> bool
    where
        Self: Sized,
    {
        let _ = is_wanted;
        self.send(frame);
        true
    }

    /// How many frames it sends that will not come back because it posts them itself.
    fn leaving(&self) -> usize {
        0
    }

    /// A frame that the card has let go of.
    fn poll_sent(&mut self) -> Option<Frame>;

    /// Publishes what was posted and sent; rings at most one doorbell a direction.
    fn kick(&mut self);

    /// Looks at what changes rarely (link, MTU). Called a few times a second at most,
    /// and after a configuration interrupt. True if something changed.
    fn tick(&mut self, now: Instant) -> bool;

    /// Whether it is known to have had nothing when it was last kicked: a turn for it
    /// alone would be in vain, and who does not spin may go to sleep at once. A card
    /// that would have to look says no.
    fn is_quiet(&self) -> bool {
        false
    }

    /// Asks for an interrupt at the next received frame. True if something is
    /// already there, in which case the caller must not sleep.
    fn arm(&mut self) -> bool;

    /// Takes the wish back: the node is awake and polls.
    fn disarm(&mut self);

    /// Where the card sits, for messages: `00:03.0 virtio-net`.
    fn name(&self) -> &str;
}
