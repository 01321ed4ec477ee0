//! Texts of the live tail.

super::texts! {
    watch: "Live tail", "实时跟踪";
    watch_about: "The newest messages, read again every {} s.", "最新的消息，每 {} 秒重新读取。";
    tail_key: "Key", "键";
    tail_text: "Text in body or properties", "消息体或属性中的文本";
    tail_filter: "Filter", "过滤";
    tail_all: "Show all", "显示全部";
    pause: "Pause", "暂停";
    resume: "Resume", "继续";
    refresh: "Refresh", "刷新";
    tail_paused: "Paused: stays as it is until you resume.", "已暂停：继续之前不会更新。";
    tail_shown: "Shown: {} of the {} newest messages; the topic holds {}.", "显示 {} 条（读取了最新的 {} 条）；主题共保留 {} 条。";
    tail_skips: "Skips about {} of {} messages a second: one look sees no more than {}.", "每秒约有 {} 条（共 {} 条）未显示：每次最多读取 {} 条。";
    tail_keeps_up: "No message is skipped while fewer than {} come between two looks.", "两次读取之间少于 {} 条消息时不会遗漏。";
    tail_none: "None of the {} newest messages passes the filter.", "最新的 {} 条消息中没有符合过滤条件的。";
}
