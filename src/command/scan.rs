use super::row::Command;
pub(super) const ROWS: &[Command] = &[];
/// The slot at which the SCAN cursor `cursor` stands.
pub fn cursor_slot(_cursor: &[u8]) -> u16 {
    0
}
