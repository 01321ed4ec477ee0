//! Headers of requests that only tools send, and that this broker does not serve.

use std::borrow::Cow;

use crate::typed::headers;

type S<'a> = Cow<'a, str>;

headers! {
    /// SET_COMMITLOG_READ_MODE (2004).
    ReadAheadMode {
        /// 0 normal, 1 random.
        mode: i32 = "READ_AHEAD_MODE",
    }

    /// AUTH_CREATE_USER (3001) to AUTH_GET_USER (3004).
    OneUser<'a> {
        /// Name.
        username: S<'a> = "username",
    }

    /// AUTH_LIST_USER (3005).
    UserFilter<'a> {
        /// Part of the name.
        filter: Option<S<'a>> = "filter",
    }

    /// AUTH_CREATE_ACL (3006) to AUTH_GET_ACL (3009).
    OneSubject<'a> {
        /// `User:name`.
        subject: S<'a> = "subject",
        /// Only this kind of rules.
        policy_type: Option<S<'a>> = "policyType",
        /// Only rules for this.
        resource: Option<S<'a>> = "resource",
    }

    /// AUTH_LIST_ACL (3010).
    AclFilter<'a> {
        /// Part of the subject.
        subject_filter: Option<S<'a>> = "subjectFilter",
        /// Part of the resource.
        resource_filter: Option<S<'a>> = "resourceFilter",
    }
}
