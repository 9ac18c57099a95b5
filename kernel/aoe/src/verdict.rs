//! What becomes of a frame, and why.
//!
//! Three things can happen to a request: nobody answers it, it is answered at
//! once, or sectors are needed first. Every reason is one variant and one
//! counter; a refusal is also exactly one code on the wire, found by a match
//! without a wildcard arm, so that a new reason cannot be forgotten.

use crate::ata::Io;

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: the buffer may receive again.
    Drop(Drop),
    /// The buffer is the answer.
    Reply {
        /// Bytes of the answer.
        len: usize,
        /// Set if the answer says no.
        refusal: Option<Refusal>,
    },
    /// The buffer is the answer to a query. A jumbo frame should follow it, made
    /// by [`Target::probe`](crate::Target::probe): if the path carries it the
    /// initiator learns the larger size, else nothing is lost.
    ReplyThenProbe {
        /// Bytes of the answer.
        len: usize,
    },
    /// The buffer stays the request until [`Target::complete`](crate::Target::complete).
    Submit(Io),
}

/// Declares a reason with its list, its number and its name.
macro_rules! reasons {
    (
        $(#[$about:meta])*
        pub enum $name:ident {
            $( $(#[$doc:meta])* $variant:ident => $text:literal, )*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[$doc])* $variant, )*
        }

        impl $name {
            /// All of them, in the order of [`index`](Self::index).
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )* ];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// Its place in a list of counters.
            pub const fn index(self) -> usize {
                self as usize
            }

            /// Its name as a counter.
            pub const fn name(self) -> &'static str {
                match self {
                    $( Self::$variant => $text, )*
                }
            }
        }
    };
}

reasons! {
    /// Why a frame is not answered. One variant, one counter.
    pub enum Drop {
        /// The ethertype is another one.
        NotAoe => "not_aoe",
        /// The frame ends before the fields that its command needs.
        Short => "short",
        /// The R flag is set: somebody's answer, perhaps our own.
        Response => "response",
        /// Another MAC, shelf or slot is meant.
        NotForUs => "not_for_us",
        /// The source is no address that an answer could go to.
        BadSource => "bad_source",
        /// The mask list does not name the source.
        Masked => "masked",
        /// A broadcast of another protocol version.
        WrongVersion => "wrong_version",
        /// A config test that our string does not pass.
        TestMismatch => "test_mismatch",
        /// A change that names us by a wildcard only.
        WildcardWrite => "wildcard_write",
        /// The operator wants silence where an ATA error would be.
        Silenced => "silenced",
        /// The answer would be longer than the port may send.
        PastMtu => "past_mtu",
    }
}

reasons! {
    /// Why a request is refused. One variant, one code on the wire, one counter.
    pub enum Refusal {
        /// A command byte that nobody has given a meaning.
        UnknownCommand => "unknown_command",
        /// A config sub-command other than 0 to 4.
        UnknownConfigCommand => "unknown_config_command",
        /// A config string longer than 1,024 bytes or than its frame.
        ConfigLength => "config_length",
        /// Set-if-empty, and another string is set.
        ConfigPresent => "config_present",
        /// A mask sub-command other than 0 and 1.
        UnknownMaskCommand => "unknown_mask_command",
        /// More directives than the frame holds.
        MaskCount => "mask_count",
        /// A directive other than none, add and delete.
        MaskDirective => "mask_directive",
        /// The mask list is full.
        MaskFull => "mask_full",
        /// An entry that the operator has set for good.
        MaskPermanent => "mask_permanent",
        /// A reserve sub-command other than 0 to 2.
        UnknownReserveCommand => "unknown_reserve_command",
        /// More members than the frame or an answer to it holds.
        ReserveCount => "reserve_count",
        /// The target is reserved for others.
        Reserved => "reserved",
        /// A protocol version other than 1.
        Version => "version",
        /// An opcode that this disk does not have.
        UnknownOpcode => "unknown_opcode",
        /// A feature or key that the opcode does not have here.
        UnknownFeature => "unknown_feature",
        /// A count of 0, too large for a frame, or not 1 where it must be.
        BadCount => "bad_count",
        /// Less data than the count says.
        ShortData => "short_data",
        /// A write to a medium that cannot be written.
        ReadOnly => "read_only",
        /// Sectors that are not there.
        PastEnd => "past_end",
        /// A 28-bit opcode with an address of more bits.
        WideAddress => "wide_address",
    }
}

/// How a refusal is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// E flag and this code: the AoE part of the frame is wrong.
    Aoe(u8),
    /// MError, without the E flag.
    Mask(u8),
    /// ATA registers, without the E flag.
    Ata(crate::ata::Failure),
}

impl Refusal {
    /// The AoE error code; 0 if it is told otherwise.
    pub(crate) const fn aoe_code(self) -> u8 {
        match self.telling() {
            Telling::Aoe(code) => code,
            Telling::Mask(_) | Telling::Ata(_) => 0,
        }
    }

    /// R-030 R-031: whatever ATA registers can say is said there, because the
    /// Linux driver throws AoE errors away and resends until it gives up.
    pub(crate) const fn telling(self) -> Telling {
        use crate::ata::Failure;
        match self {
            Self::UnknownCommand => Telling::Aoe(1),
            Self::UnknownConfigCommand
            | Self::ConfigLength
            | Self::UnknownMaskCommand
            | Self::MaskCount
            | Self::UnknownReserveCommand
            | Self::ReserveCount => Telling::Aoe(2),
            Self::ConfigPresent => Telling::Aoe(4),
            Self::Version => Telling::Aoe(5),
            Self::Reserved => Telling::Aoe(6),
            Self::MaskPermanent => Telling::Mask(1),
            Self::MaskDirective => Telling::Mask(2),
            Self::MaskFull => Telling::Mask(3),
            Self::UnknownOpcode
            | Self::UnknownFeature
            | Self::BadCount
            | Self::ShortData
            | Self::ReadOnly => Telling::Ata(Failure::ABORTED),
            Self::PastEnd | Self::WideAddress => Telling::Ata(Failure::NOT_FOUND),
        }
    }
}
