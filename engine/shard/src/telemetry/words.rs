//! Kinds of things that are counted and logged: each has a number and a word, and they are declared once.

/// Declares an enum whose variants have the numbers of their order, and the words that figures and logs call them by.
macro_rules! words {
    ($(#[doc = $enum_doc:literal])+ $type:ident { $($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+ }) => {
        $(#[doc = $enum_doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $type { $($(#[doc = $doc])+ $variant,)+ }

        impl $type {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [$type] = &[$($type::$variant),+];
            /// How many there are.
            pub const COUNT: usize = $type::ALL.len();

            /// What it is called in figures and logs.
            pub const fn name(self) -> &'static str {
                match self { $($type::$variant => $name,)+ }
            }

            /// The one of this number.
            pub fn from_number(number: u8) -> Option<$type> {
                $type::ALL.get(usize::from(number)).copied()
            }
        }
    };
}

pub(super) use words;
