//! How requests come in.

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// A TCP connection.
    Tcp,
}

impl Transport {
    /// How many there are.
    pub const COUNT: usize = Transport::ALL.len();
    /// Every transport, in the order of its number.
    pub const ALL: [Transport; 2] = [Transport::Udp, Transport::Tcp];

    /// What it is called in figures and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        }
    }
}
