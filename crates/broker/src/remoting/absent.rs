//! Requests of features that this broker does not have. Tools show the text of the answer, so it says which.

use protocol::bodies::cold_data::ColdDataFlow;
use protocol::bodies::lite::BrokerLiteInfo;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::lenient_json;

use super::call::{Call, Refusal};

/// The answer to a request that nothing is done for: one that the broker knows, or one that nobody does.
pub fn refusal(code: RequestCode) -> Refusal {
    use RequestCode as Code;
    let (answer, why) = match code {
        // Tools of 5.4 on ask before they switch: the argument cannot be right here.
        Code::SWITCH_TIMER_ENGINE => (ResponseCode::INVALID_PARAMETER, "there is one timer engine"),
        // As upstream without a controller.
        Code::GET_BROKER_EPOCH_CACHE => (ResponseCode::SYSTEM_ERROR, "the broker is not in controller mode"),
        _ => (ResponseCode::REQUEST_CODE_NOT_SUPPORTED, missing(code).unwrap_or("this broker does not know it")),
    };
    Refusal::new(answer, format!("request code {code} is not supported: {why}"))
}

/// What the broker lacks that a request is about.
fn missing(code: RequestCode) -> Option<&'static str> {
    use RequestCode as Code;
    Some(match code {
        Code::AUTH_CREATE_USER
        | Code::AUTH_UPDATE_USER
        | Code::AUTH_DELETE_USER
        | Code::AUTH_GET_USER
        | Code::AUTH_LIST_USER
        | Code::AUTH_CREATE_ACL
        | Code::AUTH_UPDATE_ACL
        | Code::AUTH_DELETE_ACL
        | Code::AUTH_GET_ACL
        | Code::AUTH_LIST_ACL
        | Code::UPDATE_AND_CREATE_ACL_CONFIG
        | Code::DELETE_ACL_CONFIG
        | Code::GET_BROKER_CLUSTER_ACL_INFO
        | Code::UPDATE_GLOBAL_WHITE_ADDRS_CONFIG
        | Code::GET_BROKER_CLUSTER_ACL_CONFIG => "this broker has no users and access lists",
        Code::UPDATE_COLD_DATA_FLOW_CTR_CONFIG
        | Code::REMOVE_COLD_DATA_FLOW_CTR_CONFIG
        | Code::SET_COMMITLOG_READ_MODE => "this broker does not limit reads of old messages",
        Code::CONTROLLER_ALTER_SYNC_STATE_SET
        | Code::CONTROLLER_ELECT_MASTER
        | Code::CONTROLLER_REGISTER_BROKER
        | Code::CONTROLLER_GET_REPLICA_INFO
        | Code::CONTROLLER_GET_METADATA_INFO
        | Code::CONTROLLER_GET_SYNC_STATE_DATA
        | Code::UPDATE_CONTROLLER_CONFIG
        | Code::GET_CONTROLLER_CONFIG
        | Code::CLEAN_BROKER_DATA
        | Code::CONTROLLER_GET_NEXT_BROKER_ID
        | Code::CONTROLLER_APPLY_BROKER_ID
        | Code::NOTIFY_BROKER_ROLE_CHANGED => "there is no controller",
        Code::EXCHANGE_BROKER_HA_INFO | Code::RESET_MASTER_FLUSH_OFFSET | Code::NOTIFY_MIN_BROKER_ID_CHANGE => {
            "this broker has no copies"
        }
        Code::UPDATE_AND_CREATE_STATIC_TOPIC => "there are no static topics",
        Code::ADD_BROKER | Code::REMOVE_BROKER => "this broker runs in no container",
        Code::CHECK_ROCKSDB_CQ_WRITE_PROGRESS | Code::EXPORT_ROCKSDB_CONFIG_TO_JSON => "nothing is stored in RocksDB",
        Code::POP_ROLLBACK => "popped messages have no records of their own",
        Code::POP_LITE_MESSAGE
        | Code::LITE_SUBSCRIPTION_CTL
        | Code::ACK_LITE_MESSAGE
        | Code::NOTIFY_UNSUBSCRIBE_LITE
        | Code::GET_PARENT_TOPIC_INFO
        | Code::GET_LITE_TOPIC_INFO
        | Code::GET_LITE_CLIENT_INFO
        | Code::GET_LITE_GROUP_INFO
        | Code::TRIGGER_LITE_DISPATCH => "there are no lite topics",
        _ => return None,
    })
}

/// GET_COLD_DATA_FLOW_CTR_INFO (2003): nobody is limited.
pub fn cold_data(call: &mut Call<'_>) -> Result<(), Refusal> {
    call.answer_body(&lenient_json::to_vec(&ColdDataFlow::default()));
    Ok(())
}

/// GET_BROKER_LITE_INFO (200074): there are queues, and none of them is light.
pub fn lite_info(call: &mut Call<'_>) -> Result<(), Refusal> {
    let broker = call.broker;
    let info = BrokerLiteInfo {
        cq_table_size: i32::try_from(broker.log.stats().queues).unwrap_or(i32::MAX),
        offset_table_size: i32::try_from(broker.offsets.all().len()).unwrap_or(i32::MAX),
        store_type: "default".to_owned(),
        ..BrokerLiteInfo::default()
    };
    call.answer_body(&lenient_json::to_vec(&info));
    Ok(())
}
