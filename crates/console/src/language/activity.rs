//! Texts of what was changed, and by whom.

super::texts! {
    activity: "Activity", "操作记录";
    activity_about: "What was changed through this console, newest first", "通过此控制台进行的更改，最新的在前";
    no_activity: "Nothing was changed yet. Every change made here or by the API is noted, with who made it and what came of it.", "尚无更改。此处或通过 API 进行的每次更改都会记录操作者和结果。";
    no_activity_found: "No change fits what you look for.", "没有符合条件的记录。";
    when: "When", "时间";
    who: "Who", "操作者";
    what: "What", "操作";
    result: "Result", "结果";
    before_and_after: "Before and after", "更改前后";
    before: "before", "更改前";
    after: "asked for", "请求内容";
    came_done: "done", "完成";
    came_partly: "in part", "部分完成";
    came_failed: "not done", "未完成";
    any_result: "any result", "全部结果";
    action_begins_with: "Action begins with", "操作前缀";
    path_has: "Address contains", "路径包含";
    nobody: "without login", "未登录";
    filter: "Filter", "筛选";
}
