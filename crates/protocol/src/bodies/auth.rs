//! Users and what they may do: bodies of 3001 to 3010.
//!
//! Sources: `remoting/.../protocol/body/{UserInfo,AclInfo}.java`.

use crate::bodies::declare::bodies;

bodies! {
    /// A user.
    #[derive(Eq)]
    UserInfo {
        /// Its password; upstream gives it to whoever may list users.
        password: Option<String> = "password",
        /// `enable` or `disable`.
        user_status: Option<String> = "userStatus",
        /// `Super` or `Normal`.
        user_type: Option<String> = "userType",
        /// Name.
        username: String = "username",
    }

    /// What somebody may do.
    #[derive(Eq)]
    AclInfo {
        /// Its rules.
        policies: Vec<AclPolicy> = "policies",
        /// Whom they are for, `User:name`.
        subject: Option<String> = "subject",
    }

    /// Rules of one kind.
    #[derive(Eq)]
    AclPolicy {
        /// The rules.
        entries: Vec<AclEntry> = "entries",
        /// `Custom` or `Default`.
        policy_type: Option<String> = "policyType",
    }

    /// One rule.
    #[derive(Eq)]
    AclEntry {
        /// `Pub`, `Sub` and so on.
        actions: Vec<String> = "actions",
        /// `Allow` or `Deny`.
        decision: Option<String> = "decision",
        /// `Topic:name` and so on.
        resource: String = "resource",
        /// Addresses that the rule is for; all when absent.
        source_ips: Option<Vec<String>> = "sourceIps",
    }
}
