//! Texts of dead letters.

super::texts! {
    no_dead_letters: "Nothing has died. A message comes here when a group has failed to consume it as often as it may.", "没有死信。当消费组重试次数用尽后，消息会出现在这里。";
    dead_letters_of: "Dead letters of {}", "{} 的死信";
    arrived: "Arrived", "到达时间";
    last_arrival: "Last arrival", "最近到达";
    origin_topic: "First sent to", "原主题";
    attempts: "Attempts", "尝试次数";
    redeliver_selected: "Give to the group again", "重新投递给消费组";
    republish_selected: "Send to the first topic again", "重新发布到原主题";
    redeliver_hint: "To the group: only {} gets it, through its retry topic, which gRPC and POP clients do not read. To the first topic: every group that reads it gets the message again. The dead letters stay here.", "投递给消费组：仅 {} 通过重试主题收到（gRPC 和 POP 客户端不读取重试主题）。发布到原主题：所有订阅该主题的消费组都会再次收到。死信会保留。";
    no_retry_topic: "Clients of {} get messages one by one (gRPC, or POP) and read no retry topic. Send to the first topic instead; nothing was sent.", "{} 的客户端逐条获取消息（gRPC 或 POP），不读取重试主题。请改为发布到原主题；未发送任何消息。";
    none_selected: "No message was chosen.", "没有选择消息。";
    redelivered: "{} of {} messages were sent again.", "已重新发送 {} / {} 条消息。";
    sent_again_as: "{} was sent again as {}", "{} 已重新发送，新 ID {}";
    not_sent_again: "{} was not sent: {}", "{} 未发送：{}";
    select_all: "Choose all", "全选";
    dead_letters_may_not_be_read: "Brokers before 4.9 make topics of dead letters that may not be read; allow reading first.", "4.9 之前的 Broker 创建的死信主题不可读；请先允许读取。";
}
