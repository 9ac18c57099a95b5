//! How a command ended, as the controller says it (NVMe 1.4, 4.6.1).

use core::fmt;
use io::{Op, Outcome};

/// The status field of a completion, without its phase bit: code in the lower 8
/// bits, type in the 3 above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u16);

impl Status {
    /// It went well.
    pub const SUCCESS: Self = Self(0x000);
    /// No such command.
    pub const INVALID_OPCODE: Self = Self(0x001);
    /// A field of the command that it does not take.
    pub const INVALID_FIELD: Self = Self(0x002);
    /// Given up, as was asked for.
    pub const ABORTED: Self = Self(0x007);
    /// Sectors past the end.
    pub const OUT_OF_RANGE: Self = Self(0x080);
    /// Media errors: could not be written.
    pub const WRITE_FAULT: Self = Self(0x280);
    /// Could not be read.
    pub const UNRECOVERED_READ: Self = Self(0x281);
    /// The only media error that says nothing about the medium.
    pub const ACCESS_DENIED: Self = Self(0x286);

    /// Code and type.
    const KIND: u16 = 0x7ff;
    /// The type.
    const TYPE: u16 = 0x700;
    /// Media and data integrity errors.
    const TYPE_MEDIA: u16 = 0x200;

    /// From the last word of a completion.
    pub const fn of_answer(word: u32) -> Self {
        Self((word >> 17) as u16)
    }

    /// Code and type, without advice.
    const fn kind(self) -> Self {
        Self(self.0 & Self::KIND)
    }

    /// Whether it went well, whatever advice stands beside.
    pub fn is_success(self) -> bool {
        self.kind() == Self::SUCCESS
    }

    /// What it means for a request.
    pub fn outcome(self, op: Op) -> Outcome {
        match self.kind() {
            Self::SUCCESS => Outcome::Done,
            Self::INVALID_OPCODE => Outcome::Unsupported,
            // What a command names is what IDENTIFY allowed, so a field it does
            // not take is a part of the command that it does not have.
            Self::INVALID_FIELD if op == Op::Discard => Outcome::Unsupported,
            Self::ACCESS_DENIED => Outcome::Fault,
            Self(kind) if kind & Self::TYPE == Self::TYPE_MEDIA => match op {
                Op::Read | Op::Write => Outcome::Medium,
                Op::Flush | Op::Discard => Outcome::Fault,
            },
            _ => Outcome::Fault,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            Self::INVALID_OPCODE => f.write_str("it does not know the command"),
            Self::INVALID_FIELD => f.write_str("it does not take a field of the command"),
            Self(kind) => write!(f, "status type {}, code {:#04x}", kind >> 8, kind & 0xff),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPS: [Op; 4] = [Op::Read, Op::Write, Op::Flush, Op::Discard];

    #[test]
    fn only_a_status_of_type_and_code_zero_is_well_whatever_advice_stands_beside() {
        for bits in 0..1 << 15 {
            for op in OPS {
                let done = Status(bits).outcome(op) == Outcome::Done;
                assert_eq!(done, bits & 0x7ff == 0, "{bits:#x} {op:?}");
            }
        }
    }

    #[test]
    fn media_errors_concern_the_medium_where_sectors_were_asked_for() {
        for code in 0x80..=0x85 {
            let status = Status(0x4200 | code);
            assert_eq!(status.outcome(Op::Read), Outcome::Medium);
            assert_eq!(status.outcome(Op::Write), Outcome::Medium);
            assert_eq!(status.outcome(Op::Flush), Outcome::Fault);
            assert_eq!(status.outcome(Op::Discard), Outcome::Fault);
        }
        assert_eq!(Status::ACCESS_DENIED.outcome(Op::Read), Outcome::Fault);
    }

    #[test]
    fn unknown_commands_are_unsupported_and_an_unknown_field_only_in_a_discard() {
        for op in OPS {
            assert_eq!(Status::INVALID_OPCODE.outcome(op), Outcome::Unsupported);
        }
        assert_eq!(
            Status::INVALID_FIELD.outcome(Op::Discard),
            Outcome::Unsupported
        );
        assert_eq!(Status::INVALID_FIELD.outcome(Op::Read), Outcome::Fault);
        assert_eq!(Status::OUT_OF_RANGE.outcome(Op::Read), Outcome::Fault);
    }

    #[test]
    fn the_phase_and_the_command_id_are_no_part_of_a_status() {
        assert_eq!(Status::of_answer(0x0001_ffff), Status::SUCCESS);
        assert_eq!(Status::of_answer(0x0502_1234), Status::UNRECOVERED_READ);
    }
}
