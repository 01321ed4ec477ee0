//! Users of one broker and what they may do.

use std::borrow::Cow;

use protocol::bodies::auth::{AclInfo, UserInfo};
use protocol::codes::RequestCode;
use protocol::lenient_json;
use protocol::requests::tools::{AclFilter, OneSubject, OneUser, UserFilter};
use protocol::typed::TypedHeader;
use serde::de::DeserializeOwned;

use super::Admin;
use crate::request::{Request, RequestError};

impl Admin {
    /// Creates a user (3001).
    pub async fn create_user(&self, address: &str, user: &UserInfo) -> Result<(), RequestError> {
        let header = OneUser { username: Cow::Borrowed(&user.username) };
        self.ask(address, RequestCode::AUTH_CREATE_USER, &header, &lenient_json::to_vec(user)).await.map(|_| ())
    }

    /// Changes a user (3002); what is absent stays.
    pub async fn update_user(&self, address: &str, user: &UserInfo) -> Result<(), RequestError> {
        let header = OneUser { username: Cow::Borrowed(&user.username) };
        self.ask(address, RequestCode::AUTH_UPDATE_USER, &header, &lenient_json::to_vec(user)).await.map(|_| ())
    }

    /// Deletes a user (3003).
    pub async fn delete_user(&self, address: &str, name: &str) -> Result<(), RequestError> {
        let header = OneUser { username: Cow::Borrowed(name) };
        self.ask(address, RequestCode::AUTH_DELETE_USER, &header, b"").await.map(|_| ())
    }

    /// One user (3004).
    pub async fn user(&self, address: &str, name: &str) -> Result<Option<UserInfo>, RequestError> {
        let header = OneUser { username: Cow::Borrowed(name) };
        self.read_if_any(address, RequestCode::AUTH_GET_USER, &header).await
    }

    /// Users (3005), all or those whose name has `filter` in it.
    pub async fn users(&self, address: &str, filter: Option<&str>) -> Result<Vec<UserInfo>, RequestError> {
        let header = UserFilter { filter: filter.map(Cow::Borrowed) };
        Ok(self.read_if_any(address, RequestCode::AUTH_LIST_USER, &header).await?.unwrap_or_default())
    }

    /// Creates (3006) or changes (3007) what somebody may do.
    pub async fn put_acl(
        &self,
        address: &str,
        code: RequestCode,
        subject: &str,
        acl: &AclInfo,
    ) -> Result<(), RequestError> {
        let header = OneSubject { subject: Cow::Borrowed(subject), policy_type: None, resource: None };
        self.ask(address, code, &header, &lenient_json::to_vec(acl)).await.map(|_| ())
    }

    /// Deletes what somebody may do (3008), with everything or with one resource.
    pub async fn delete_acl(&self, address: &str, subject: &str, resource: Option<&str>) -> Result<(), RequestError> {
        let (subject, resource) = (Cow::Borrowed(subject), resource.map(Cow::Borrowed));
        let header = OneSubject { subject, policy_type: None, resource };
        self.ask(address, RequestCode::AUTH_DELETE_ACL, &header, b"").await.map(|_| ())
    }

    /// What somebody may do (3009).
    pub async fn acl(&self, address: &str, subject: &str) -> Result<Option<AclInfo>, RequestError> {
        let header = OneSubject { subject: Cow::Borrowed(subject), policy_type: None, resource: None };
        self.read_if_any(address, RequestCode::AUTH_GET_ACL, &header).await
    }

    /// What everybody may do (3010), or those that the filters name.
    pub async fn acls(
        &self,
        address: &str,
        subject: Option<&str>,
        resource: Option<&str>,
    ) -> Result<Vec<AclInfo>, RequestError> {
        let (subject_filter, resource_filter) = (subject.map(Cow::Borrowed), resource.map(Cow::Borrowed));
        let header = AclFilter { subject_filter, resource_filter };
        Ok(self.read_if_any(address, RequestCode::AUTH_LIST_ACL, &header).await?.unwrap_or_default())
    }

    /// Upstream answers without a body when it found nothing.
    async fn read_if_any<'h, T: DeserializeOwned>(
        &self,
        address: &str,
        code: RequestCode,
        header: &impl TypedHeader<'h>,
    ) -> Result<Option<T>, RequestError> {
        let channel = self.channel(address).await?;
        let request = Request::new(&channel, code);
        let answer = request.send(header).await?;
        if answer.body.is_empty() {
            return Ok(None);
        }
        request.read_body(lenient_json::from_slice(&answer.body)).map(Some)
    }
}
