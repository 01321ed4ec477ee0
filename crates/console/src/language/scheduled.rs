//! Texts of messages that wait for their time.

super::texts! {
    scheduled: "Scheduled", "定时消息";
    scheduled_about: "Messages that wait for their time, as brokers count them. Each goes to its topic when it is due.", "等待投递的消息，由 Broker 统计；到期后投递到各自的主题。";
    none_scheduled: "No message waits for its time.", "没有等待投递的消息。";
    waits: "Wait", "等待投递";
    in_all: "In all", "合计";
    take_back: "Take a message back", "撤回消息";
    take_back_about: "The handle is in the answer to the send of a delayed message. A message that was delivered cannot be taken back.", "句柄在发送定时消息的返回结果中。已投递的消息无法撤回。";
    recall_handle: "Recall handle", "撤回句柄";
    bad_handle: "This is no recall handle: {}", "不是有效的撤回句柄：{}";
    due_at: "Due", "到期时间";
    recalled: "Message {} of topic {} was taken back.", "消息 {}（主题 {}）已撤回。";
    not_recalled: "Message {} of topic {} was not taken back.", "消息 {}（主题 {}）未能撤回。";
    take_back_until_due: "Take it back, as long as it is not due", "撤回（到期之前）";
}
