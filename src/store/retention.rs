//! What a store can erase once it is old enough.

/// What is erased together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    /// What others wrote, on the rows of bounces and complaints and of those who wait for a person; the rows stay.
    Diagnostics,
    /// The rows of bounces and complaints. Totals lose them; entries of the list stay, and lead nowhere.
    Bounces,
    /// How many addresses each remote called dead in an hour, but for hours of which some still wait for a person.
    DeadByHour,
    /// The rows of messages, and with them their bounces and complaints. Their places need no second look all the same.
    Messages,
    /// What we sent, and to whom, what is doubted for lack of that, and used tokens. How much was sent on which day stays.
    Sent,
}
