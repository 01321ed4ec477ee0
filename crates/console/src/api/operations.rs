//! The operations of the API in one table: the router and the OpenAPI document are made from it, so that neither has
//! what the other lacks.

use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, patch, post};

use super::{audit, config, doctor, export, members, openapi, read, scheduled, tokens, write};
use crate::app::App;
use crate::auth::Role;

/// A text in English and in Chinese.
pub type Text = (&'static str, &'static str);

/// A field of a body: name, an example in JSON, whether it has to be there. The name `*` stands for any.
pub type Field = (&'static str, &'static str, bool);

/// What one method of one address does.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// The method, in small letters.
    pub method: &'static str,
    /// Its address, below the console's base path.
    pub path: &'static str,
    /// What it does.
    pub summary: Text,
    /// Role that it takes.
    pub role: Role,
    /// Parameters of the query.
    pub query: &'static [&'static str],
    /// Fields of the body; none without a body.
    pub body: &'static [Field],
    /// Status of an answer that is no error.
    pub status: u16,
    /// Fields that the answer has.
    pub answer: &'static [&'static str],
    /// Whether the answer has an `ETag`, or conditions are honoured.
    pub has_etag: bool,
}

impl Operation {
    /// Content types of an answer that is no error.
    pub fn content_types(&self) -> &'static [&'static str] {
        if self.path.ends_with("/export") {
            &["application/x-ndjson", "text/csv; charset=utf-8"]
        } else {
            &["application/json"]
        }
    }
}

const LIST: &[&str] = &["items", "next", "total", "asOf", "partial", "errors"];
const NODES: &[&str] = &["nodes"];
const TOPIC: &[Field] = &[
    ("name", "\"payments\"", true),
    ("readQueues", "8", false),
    ("writeQueues", "8", false),
    ("messageType", "\"NORMAL\"", false),
];
const GROUP: &[Field] = &[
    ("name", "\"workers\"", true),
    ("retryMaxTimes", "16", false),
    ("retryQueueNums", "1", false),
    ("consumeEnable", "true", false),
    ("consumeBroadcastEnable", "true", false),
    ("consumeFromMinEnable", "true", false),
    ("consumeMessageOrderly", "false", false),
];
const MESSAGE: &[Field] = &[
    ("body", "\"hello\"", true),
    ("tag", "\"new\"", false),
    ("keys", "[\"order-1\"]", false),
    ("properties", "{\"region\":\"eu\"}", false),
];
const MOVE: &[Field] = &[("topic", "\"orders\"", true), ("to", "\"earliest\"", true)];
const TOKEN: &[Field] = &[("note", "\"ci\"", true), ("role", "\"viewer\"", true), ("days", "90", true)];
const SETTINGS: &[Field] = &[("*", "\"48\"", false)];

macro_rules! operations {
    ($($method:ident $path:literal $handler:path, $role:ident, $summary:expr, $query:expr, $body:expr, $status:literal, $answer:expr, $has_etag:literal;)*) => {
        /// All operations.
        pub const ALL: &[Operation] = &[$(Operation {
            method: stringify!($method),
            path: $path,
            summary: $summary,
            role: Role::$role,
            query: $query,
            body: $body,
            status: $status,
            answer: $answer,
            has_etag: $has_etag,
        }),*];

        /// Addresses of the API.
        pub fn routes(app: &Arc<App>) -> Router {
            Router::new()$(.route($path, $method($handler)))*.with_state(app.clone())
        }
    };
}

operations! {
    get "/api/v1/openapi.json" openapi::document, Guest, ("This document", "本文档"), &[], &[], 200, &["openapi", "info", "paths"], false;
    get "/api/v1/overview" read::overview, Guest, ("Figures of the cluster", "集群概况"), &[], &[], 200, &["brokers", "topics", "groups", "lag", "asOf"], false;
    get "/api/v1/audit" audit::list, Admin, ("What was changed, newest first", "更改记录，最新的在前"), &["user", "action", "q", "result", "from", "to", "limit", "cursor"], &[], 200, &["items", "next"], false;
    get "/api/v1/nameservers" read::nameservers, Guest, ("Nameservers and the brokers that each knows", "NameServer 及其已知的 Broker"), &[], &[], 200, LIST, false;
    get "/api/v1/doctor" doctor::checks, Guest, ("What usually goes wrong, looked for", "常见问题检查"), &[], &[], 200, LIST, false;
    get "/api/v1/brokers" read::brokers, Guest, ("Brokers and what they say about themselves", "Broker 及其运行信息"), &[], &[], 200, LIST, false;
    get "/api/v1/brokers/{name}/{id}/config" config::settings, Guest, ("Settings of a broker", "Broker 配置"), &[], &[], 200, &[], true;
    patch "/api/v1/brokers/{name}/{id}/config" config::change_settings, Admin, ("Changes settings of a broker", "修改 Broker 配置"), &["dryRun"], SETTINGS, 200, NODES, true;
    get "/api/v1/topics" read::topics, Guest, ("Topics by name", "主题列表"), &["q", "kind", "limit", "cursor"], &[], 200, LIST, false;
    post "/api/v1/topics" write::put_topic, Operator, ("Creates or changes a topic", "创建或修改主题"), &["dryRun"], TOPIC, 200, NODES, true;
    get "/api/v1/topics/{topic}" read::topic, Guest, ("A topic on each broker", "主题在各 Broker 上的配置"), &[], &[], 200, &["name", "kind", "brokers"], true;
    delete "/api/v1/topics/{topic}" write::delete_topic, Admin, ("Deletes a topic", "删除主题"), &["dryRun"], &[], 200, NODES, true;
    get "/api/v1/topics/{topic}/queues" read::queues, Guest, ("What each queue holds", "各队列的内容"), &[], &[], 200, LIST, false;
    get "/api/v1/topics/{topic}/messages" read::messages, Guest, ("Messages by key, or read through; bodies take the role viewer", "按 Key 或扫描查找消息；消息体需要 viewer 角色"), &["from", "to", "tag", "key", "text", "limit", "cursor"], &[], 200, &["items", "next", "asOf", "partial", "errors"], false;
    get "/api/v1/topics/{topic}/messages/export" export::messages, Viewer, ("Messages as a file, up to 100,000: JSON lines that end with a summary, or CSV", "导出消息，最多 100,000 条：JSON 行（以汇总结尾）或 CSV"), export::PARAMETERS, &[], 200, &[], false;
    post "/api/v1/topics/{topic}/messages" write::send, Operator, ("Sends a message", "发送消息"), &[], MESSAGE, 201, &["id", "offsetId", "broker", "queue", "offset"], false;
    get "/api/v1/messages/{topic}/{id}" read::message, Guest, ("A message by either id", "按 ID 查询消息"), &[], &[], 200, LIST, false;
    get "/api/v1/groups" read::groups, Guest, ("Groups by name", "消费组列表"), &["q", "limit", "cursor"], &[], 200, LIST, false;
    post "/api/v1/groups" config::put_group, Operator, ("Creates or changes a group; what is not named stays", "创建或修改消费组，未指定的保持不变"), &["dryRun"], GROUP, 200, NODES, true;
    get "/api/v1/groups/{group}" read::group, Guest, ("A group on each broker", "消费组在各 Broker 上的配置"), &[], &[], 200, &["name", "system", "brokers"], true;
    delete "/api/v1/groups/{group}" config::delete_group, Admin, ("Deletes a group", "删除消费组"), &["topics", "dryRun"], &[], 200, NODES, true;
    get "/api/v1/groups/{group}/progress" read::progress, Guest, ("How far a group is, queue by queue", "消费组在各队列的进度"), &[], &[], 200, LIST, false;
    patch "/api/v1/groups/{group}/offsets" write::reset, Operator, ("Moves a group in a topic: earliest, latest, milliseconds since 1970, or places ({broker, queue, offset} each)", "重置消费位点：earliest、latest、毫秒时间戳，或位置列表（{broker, queue, offset}）"), &["dryRun"], MOVE, 200, NODES, true;
    get "/api/v1/groups/{group}/clients" members::clients, Guest, ("Who is connected", "在线客户端"), &[], &[], 200, LIST, false;
    get "/api/v1/groups/{group}/clients/{client}/running-info" members::running_info, Viewer, ("What a member tells about itself; stacks take the role operator", "消费者运行信息；线程栈需要 operator 角色"), &["stacks"], &[], 200, &["queues", "popQueues", "rates", "subscriptions", "properties", "own", "stacks"], false;
    get "/api/v1/dlq" read::dead_letters, Guest, ("Groups that gave messages up", "死信消费组列表"), &["limit", "cursor"], &[], 200, LIST, false;
    get "/api/v1/scheduled" scheduled::list, Guest, ("Messages that wait for their time, by topic", "等待投递的定时消息（按主题）"), &[], &[], 200, LIST, false;
    delete "/api/v1/scheduled/{handle}" scheduled::recall, Operator, ("Takes a message back by its recall handle", "按撤回句柄撤回消息"), &[], &[], 200, NODES, false;
    get "/api/v1/console/tokens" tokens::list, Viewer, ("One's own tokens; all, for admins", "自己的令牌；管理员可见全部"), &[], &[], 200, &["items", "next", "total"], false;
    post "/api/v1/console/tokens" tokens::create, Viewer, ("Makes a token, told once; takes name and password", "创建令牌，仅显示一次；需要用户名和密码"), &[], TOKEN, 201, &["id", "note", "user", "role", "madeAt", "expiresAt", "token"], false;
    delete "/api/v1/console/tokens/{id}" tokens::delete, Viewer, ("Revokes a token", "吊销令牌"), &[], &[], 204, &[], false;
}
