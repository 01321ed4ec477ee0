//! The system flag of a message: compression, transaction state, host families.
//!
//! Source: `common/.../sysflag/MessageSysFlag.java`.

/// Bits that say how a message is stored. Unknown bits are carried untouched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SysFlag(pub i32);

/// Where a message stands in a transaction, the two bits `0x00C` of the flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionState {
    /// Not part of a transaction.
    None,
    /// Half message: waits for a decision.
    Prepared,
    /// Decided: deliver.
    Commit,
    /// Decided: drop.
    Rollback,
}

impl SysFlag {
    const COMPRESSED: i32 = 0x1;
    const TRANSACTION: i32 = 0xC;
    const BORN_V6: i32 = 0x10;
    const STORE_V6: i32 = 0x20;

    /// Whether the body is compressed.
    pub fn is_compressed(self) -> bool {
        self.0 & Self::COMPRESSED != 0
    }
    /// Whether the born host takes 20 bytes.
    pub fn born_host_is_v6(self) -> bool {
        self.0 & Self::BORN_V6 != 0
    }
    /// Whether the store host takes 20 bytes.
    pub fn store_host_is_v6(self) -> bool {
        self.0 & Self::STORE_V6 != 0
    }
    /// The same flag with both host bits set to what is said.
    pub fn with_hosts(self, born_v6: bool, store_v6: bool) -> SysFlag {
        let hosts = if born_v6 { Self::BORN_V6 } else { 0 } | if store_v6 { Self::STORE_V6 } else { 0 };
        SysFlag(self.0 & !(Self::BORN_V6 | Self::STORE_V6) | hosts)
    }
    /// Where the message stands in a transaction.
    pub fn transaction(self) -> TransactionState {
        match self.0 & Self::TRANSACTION {
            0 => TransactionState::None,
            4 => TransactionState::Prepared,
            8 => TransactionState::Commit,
            _ => TransactionState::Rollback,
        }
    }
    /// The same flag with another transaction state.
    pub fn with_transaction(self, state: TransactionState) -> SysFlag {
        let bits = match state {
            TransactionState::None => 0,
            TransactionState::Prepared => 4,
            TransactionState::Commit => 8,
            TransactionState::Rollback => 12,
        };
        SysFlag(self.0 & !Self::TRANSACTION | bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changing_one_part_leaves_the_others() {
        let flag = SysFlag(0x301).with_transaction(TransactionState::Prepared).with_hosts(true, false);
        assert_eq!(flag.0, 0x315);
        assert_eq!(flag.transaction(), TransactionState::Prepared);
        assert_eq!(flag.with_transaction(TransactionState::None).with_hosts(false, true).0, 0x321);
    }
}
