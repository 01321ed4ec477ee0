//! Texts of tokens.

super::texts! {
    tokens: "Tokens for programs", "程序令牌";
    tokens_about: "Programs send one as a bearer token to the API instead of name and password. It may do what its role and its user's may.", "程序通过 API 的 Bearer 令牌代替用户名和密码。其权限不超过令牌角色和所属用户的角色。";
    token_note: "What for", "用途";
    token_ends: "Ends", "到期时间";
    token_has_ended: "ended", "已到期";
    token_not_used: "not used since the console started", "控制台启动后尚未使用";
    token_days: "Days that it lives", "有效天数";
    make_token: "Make a token", "创建令牌";
    token_made: "New token", "新令牌";
    token_shown_once: "This is shown once. Copy it now: the console keeps only what it hashes to.", "令牌只显示一次，请立即复制：控制台仅保存其哈希值。";
    revoke: "Revoke", "吊销";
    token_revoked: "Token {} is revoked.", "令牌 {} 已吊销。";
}
