//! Users of brokers and what they may do.

use clap::Args;
use client::Admin;
use protocol::bodies::auth::{AclEntry, AclInfo, AclPolicy, UserInfo};
use protocol::codes::RequestCode;
use serde_json::json;

use super::print::{Out, or_null};
use super::targets::{Target, on_each};
use crate::exit::NotFound;

/// Options of `createUser` and `updateUser`.
#[derive(Debug, Args)]
struct User {
    #[command(flatten)]
    target: Target,
    /// Name
    #[arg(short = 'u', long)]
    username: String,
    /// Super or Normal
    #[arg(short = 't', long = "userType")]
    kind: Option<String>,
}

impl User {
    fn info(&self, password: Option<&String>, status: Option<&String>) -> UserInfo {
        UserInfo {
            password: password.cloned(),
            user_status: status.cloned(),
            user_type: self.kind.clone(),
            username: self.username.clone(),
        }
    }
}

/// Options of `createUser`.
#[derive(Debug, Args)]
pub struct CreateUser {
    #[command(flatten)]
    user: User,
    /// Password
    #[arg(short, long)]
    password: String,
}

impl CreateUser {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let user = self.user.info(Some(&self.password), None);
        let addresses = self.user.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            admin.create_user(address, &user).await?;
            let text = format!("create user to {address} success.");
            out.row(json!({ "user": user.username, "broker": address }), text);
            Ok(())
        })
        .await
    }
}

/// Options of `updateUser`.
#[derive(Debug, Args)]
pub struct UpdateUser {
    #[command(flatten)]
    user: User,
    /// Password
    #[arg(short, long)]
    password: Option<String>,
    /// enable or disable
    #[arg(short = 's', long = "userStatus")]
    status: Option<String>,
}

impl UpdateUser {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let user = self.user.info(self.password.as_ref(), self.status.as_ref());
        let addresses = self.user.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            admin.update_user(address, &user).await?;
            let text = format!("update user to {address} success.");
            out.row(json!({ "user": user.username, "broker": address }), text);
            Ok(())
        })
        .await
    }
}

/// Options of `deleteUser`.
#[derive(Debug, Args)]
pub struct DeleteUser {
    #[command(flatten)]
    target: Target,
    /// Name
    #[arg(short = 'u', long)]
    username: String,
}

impl DeleteUser {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            admin.delete_user(address, &self.username).await?;
            let text = format!("delete user to {address} success.");
            out.row(json!({ "user": self.username, "broker": address }), text);
            Ok(())
        })
        .await
    }
}

fn user_header() -> String {
    format!("{:<16}  {:<22}  {:<22}  {:<22}", "#UserName", "#Password", "#UserType", "#UserStatus")
}

fn print_user(user: &UserInfo, out: &mut Out) {
    let [password, kind, status] =
        [&user.password, &user.user_type, &user.user_status].map(|text| or_null(text.as_deref()));
    // The password is no business of whoever reads along.
    let value = json!({ "user": user.username, "type": user.user_type, "status": user.user_status });
    out.row(value, format!("{:<16}  {password:<22}  {kind:<22}  {status:<22}", user.username));
}

/// Options of `getUser`.
#[derive(Debug, Args)]
pub struct GetUser {
    #[command(flatten)]
    target: Target,
    /// Name
    #[arg(short = 'u', long)]
    username: String,
}

impl GetUser {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            let found = admin.user(address, &self.username).await?;
            let user = found.ok_or_else(|| NotFound(format!("`{address}` has no user `{}`", self.username)))?;
            out.line(user_header());
            print_user(&user, out);
            Ok(())
        })
        .await
    }
}

/// Options of `listUser`.
#[derive(Debug, Args)]
pub struct ListUser {
    #[command(flatten)]
    target: Target,
    /// Part of the name
    #[arg(short, long)]
    filter: Option<String>,
}

impl ListUser {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            let users = admin.users(address, self.filter.as_deref()).await?;
            out.line(user_header());
            for user in &users {
                print_user(user, out);
            }
            out.line(format!("get users from {address} success."));
            Ok(())
        })
        .await
    }
}

/// Options of `createAcl` and `updateAcl`.
#[derive(Debug, Args)]
struct Rule {
    #[command(flatten)]
    target: Target,
    /// Whom the rule is for, User:name
    #[arg(short = 's', long)]
    subject: String,
    /// What it is about, separated by commas: Topic:name, Group:prefix*, …
    #[arg(short = 'r', long, value_delimiter = ',', required = true)]
    resources: Vec<String>,
    /// What is decided, separated by commas: Pub, Sub, Create, …
    #[arg(short = 'a', long, value_delimiter = ',', required = true)]
    actions: Vec<String>,
    /// Allow or Deny
    #[arg(short = 'd', long)]
    decision: String,
    /// Addresses that the rule is for, separated by commas
    #[arg(short = 'i', long = "sourceIp", value_delimiter = ',')]
    source_ips: Option<Vec<String>>,
}

impl Rule {
    async fn put(&self, admin: &Admin, code: RequestCode, verb: &str, out: &mut Out) -> anyhow::Result<()> {
        let entry = |resource: &String| AclEntry {
            actions: self.actions.clone(),
            decision: Some(self.decision.clone()),
            resource: resource.clone(),
            source_ips: self.source_ips.clone(),
        };
        let policy = AclPolicy { entries: self.resources.iter().map(entry).collect(), policy_type: None };
        let acl = AclInfo { policies: vec![policy], subject: Some(self.subject.clone()) };
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            admin.put_acl(address, code, &self.subject, &acl).await?;
            let text = format!("{verb} acl to {address} success.");
            out.row(json!({ "subject": self.subject, "broker": address }), text);
            Ok(())
        })
        .await
    }
}

/// Options of `createAcl`.
#[derive(Debug, Args)]
pub struct CreateAcl {
    #[command(flatten)]
    rule: Rule,
}

impl CreateAcl {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        self.rule.put(admin, RequestCode::AUTH_CREATE_ACL, "create", out).await
    }
}

/// Options of `updateAcl`.
#[derive(Debug, Args)]
pub struct UpdateAcl {
    #[command(flatten)]
    rule: Rule,
}

impl UpdateAcl {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        self.rule.put(admin, RequestCode::AUTH_UPDATE_ACL, "update", out).await
    }
}

/// Options of `deleteAcl`.
#[derive(Debug, Args)]
pub struct DeleteAcl {
    #[command(flatten)]
    target: Target,
    /// Whom the rules are for, User:name
    #[arg(short = 's', long)]
    subject: String,
    /// Only rules about this
    #[arg(short = 'r', long = "resources")]
    resource: Option<String>,
}

impl DeleteAcl {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            admin.delete_acl(address, &self.subject, self.resource.as_deref()).await?;
            let text = format!("delete acl to {address} success.");
            out.row(json!({ "subject": self.subject, "broker": address }), text);
            Ok(())
        })
        .await
    }
}

fn acl_row(cells: [&str; 6]) -> String {
    let [subject, policy, resource, actions, ips, decision] = cells;
    format!("{subject:<16}  {policy:<10}  {resource:<22}  {actions:<20}  {ips:<24}  {decision:<10}")
}

fn acl_header() -> String {
    acl_row(["#Subject", "#PolicyType", "#Resource", "#Actions", "#SourceIp", "#Decision"])
}

fn print_acl(acl: &AclInfo, out: &mut Out) {
    for policy in &acl.policies {
        for entry in &policy.entries {
            let [subject, kind, decision] =
                [&acl.subject, &policy.policy_type, &entry.decision].map(|text| or_null(text.as_deref()));
            let actions = format!("[{}]", entry.actions.join(", "));
            let ips = entry.source_ips.as_ref().map(|ips| format!("[{}]", ips.join(", ")));
            let ips = or_null(ips.as_deref());
            out.line(acl_row([subject, kind, &entry.resource, &actions, ips, decision]));
        }
    }
    out.value(acl);
}

/// Options of `getAcl`.
#[derive(Debug, Args)]
pub struct GetAcl {
    #[command(flatten)]
    target: Target,
    /// Whom the rules are for, User:name
    #[arg(short = 's', long)]
    subject: String,
}

impl GetAcl {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            let found = admin.acl(address, &self.subject).await?;
            let acl = found.ok_or_else(|| NotFound(format!("`{address}` has no rule for `{}`", self.subject)))?;
            out.line(acl_header());
            print_acl(&acl, out);
            Ok(())
        })
        .await
    }
}

/// Options of `listAcl`.
#[derive(Debug, Args)]
pub struct ListAcl {
    #[command(flatten)]
    target: Target,
    /// Part of the subject
    #[arg(short = 's', long)]
    subject: Option<String>,
    /// Part of the resource
    #[arg(short = 'r', long)]
    resource: Option<String>,
}

impl ListAcl {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            let acls = admin.acls(address, self.subject.as_deref(), self.resource.as_deref()).await?;
            out.line(acl_header());
            for acl in &acls {
                print_acl(acl, out);
            }
            out.line(format!("get acls from {address} success."));
            Ok(())
        })
        .await
    }
}
