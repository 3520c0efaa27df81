package pages

import "maps"

// catalogue holds every text of the console. Tests hold that each is there in both languages,
// with the same values in it, and that each is used.
var catalogue = joined(frameTexts, callTexts, valueTexts, overviewTexts, deviceTexts, operationTexts)

func joined(parts ...map[Key]text) map[Key]text {
	all := map[Key]text{}
	for _, part := range parts {
		maps.Copy(all, part)
	}
	return all
}

// frameTexts are those around and on every page.
var frameTexts = map[Key]text{
	"nav.skip":       {"Skip to the content", "本文へ移動"},
	"nav.label":      {"Console", "コンソール"},
	"nav.overview":   {"Overview", "概要"},
	"nav.calls":      {"Calls", "通話"},
	"nav.rooms":      {"Group calls", "グループ通話"},
	"nav.users":      {"Users", "ユーザー"},
	"nav.deliveries": {"Failing now", "失敗中の配信"},
	"nav.events":     {"Events", "イベント"},
	"nav.settings":   {"Settings", "設定"},
	"nav.audit":      {"Audit log", "監査ログ"},
	"nav.sign_out":   {"Sign out", "サインアウト"},
	"foot.node":      {"node %s", "ノード %s"},
	"foot.utc":       {"All times are UTC.", "時刻はすべてUTCです。"},
	"space":          {" ", ""},
	"any":            {"any", "すべて"},
	"older":          {"Older", "以前のもの"},
	"next":           {"Next page", "次のページ"},
	"live":           {"live", "ライブ"},

	"time.now":  {"now", "たった今"},
	"time.ago":  {"%s ago", "%s前"},
	"time.in":   {"in %s", "%s後"},
	"time.days": {"%d d", "%d日"},

	"form.user":   {"User", "ユーザー"},
	"form.state":  {"State", "状態"},
	"form.since":  {"From (UTC)", "開始 (UTC)"},
	"form.until":  {"Until (UTC)", "終了 (UTC)"},
	"form.search": {"Search", "検索"},
	"form.clear":  {"Clear", "クリア"},
	"wrong.title": {"This did not work", "処理できませんでした"},
	"wrong.time":  {"Write a time such as 2026-11-26 03:00.", "時刻は 2026-11-26 03:00 の形で入力してください。"},
	"wrong.sid":   {"This is no session ID.", "セッションIDの形式ではありません。"},
}

// callTexts are those of the pages about calls.
var callTexts = map[Key]text{
	"calls.when":    {"Time", "時刻"},
	"calls.outcome": {"Outcome", "結果"},
	"calls.who":     {"Caller → callee", "発信者 → 着信者"},
	"calls.why":     {"Why", "理由"},
	"calls.to":      {"calls", "から"},
	"calls.live":    {"Ringing now", "呼び出し中"},
	"calls.latest":  {"Latest calls", "最近の通話"},
	"calls.found":   {"Calls found", "検索結果"},
	"calls.none":    {"There is no such call.", "該当する通話はありません。"},

	"call.sid":          {"Session ID", "セッションID"},
	"call.caller":       {"Caller", "発信者"},
	"call.callee":       {"Callee", "着信者"},
	"call.type":         {"Type", "種別"},
	"call.project":      {"Project", "プロジェクト"},
	"call.notified":     {"Notify came", "Notify受信"},
	"call.caller_name":  {"Shown as", "表示名"},
	"call.ended":        {"Ended", "終了"},
	"call.talked":       {"Talked", "通話時間"},
	"call.ended_by":     {"Ended by", "終了した側"},
	"call.user_code":    {"The app says", "アプリの終了コード"},
	"call.about":        {"About", "対象"},
	"call.agent":        {"Server API", "Server API"},
	"call.agent_ok":     {"asked for through the Server API (%s), set up", "Server APIによる発信 (%s)、成功"},
	"call.agent_failed": {"asked for through the Server API (%s), not set up: %s", "Server APIによる発信 (%s)、失敗: %s"},
	"call.facts":        {"The call", "通話の内容"},
	"call.waterfall":    {"What happened when", "時間の流れ"},
	"call.scale":        {"Time since Notify, on a logarithmic scale.", "Notifyからの経過時間 (対数目盛)。"},
	"call.tried":        {"Devices", "端末"},
	"call.attempts":     {"Attempts", "試行"},
	"call.left_out":     {"Not rung", "呼び出さなかった端末"},
	"call.none_tried":   {"No device was rung.", "呼び出した端末はありません。"},
	"call.reasons":      {"LINE Planet's numbers", "LINE Planetの理由コード"},
	"call.journal":      {"Callbacks, as they came", "受信したコールバック"},
	"call.journal_hint": {"cc_param is a secret and never kept here.", "cc_paramは秘密情報のため、ここには保存されません。"},
	"call.receipt":      {"acknowledged %s", "受信確認 %s"},
	"call.lowered":      {"(FCM lowered the priority from %s to %s)", "(FCMが優先度を%sから%sへ下げました)"},

	"lane.notify":     {"Notify", "Notify"},
	"lane.notify_in":  {"Notify came at %s", "Notify受信 %s"},
	"lane.answered":   {"on disk and answered in %s", "保存・応答まで%s"},
	"lane.no_attempt": {"taken", "受信済み"},
	"lane.no_device":  {"no device to ring", "呼び出せる端末なし"},
	"lane.waits":      {"waiting", "待機"},
	"lane.attempts":   {", %d attempts", "、%d回"},
	"lane.attempt":    {"Attempt %d at %s took %s: %s", "試行%d 開始%s 所要%s: %s"},
	"lane.status":     {" · HTTP %d", " · HTTP %d"},
	"lane.end":        {"Call Event", "Call Event"},
	"lane.end_in":     {"Call Event came at %s", "Call Event受信 %s"},
	"lane.talked":     {"talked %s", "通話%s"},
	"legend.good":     {"taken", "受理"},
	"legend.warn":     {"to be tried again", "再試行"},
	"legend.bad":      {"refused", "拒否"},
	"legend.receipt":  {"the device's own word", "端末の受信確認"},

	"tried.device": {"Device", "端末"},
	"tried.state":  {"State", "状態"},
	"tried.after":  {"After", "経過"},
	"tried.took":   {"Took", "所要"},
	"tried.answer": {"Answer", "応答"},
	"tried.none":   {"no attempt", "試行なし"},

	"say.fix": {"What to do:", "対応:"},
}

// valueTexts are what people call values that come from elsewhere. Those of values that are not
// here are shown as they are.
var valueTexts = map[Key]text{
	"state.ringing": {"ringing", "呼び出し中"},
	"state.ended":   {"ended", "終了"},
	"state.lost":    {"end unknown", "終了不明"},
	"state.notice":  {"notice", "お知らせ"},

	"outcome.completed":   {"completed", "通話成立"},
	"outcome.canceled":    {"canceled", "発信者が取消"},
	"outcome.declined":    {"declined", "拒否"},
	"outcome.busy":        {"busy", "通話中"},
	"outcome.missed":      {"missed", "不在着信"},
	"outcome.push_failed": {"push failed", "プッシュ失敗"},
	"outcome.failed":      {"failed", "失敗"},

	"suppressed.blocked":        {"the callee blocks the caller", "着信者が発信者をブロック中"},
	"suppressed.do_not_disturb": {"the callee wanted no calls", "着信者が応答不可に設定"},
	"suppressed.policy":         {"the policy hook said no", "ポリシーフックが拒否"},

	"delivery.pending":   {"waiting", "待機中"},
	"delivery.sending":   {"sending", "送信中"},
	"delivery.accepted":  {"taken", "受理"},
	"delivery.received":  {"received", "受信確認"},
	"delivery.failed":    {"failed", "失敗"},
	"delivery.expired":   {"expired", "期限切れ"},
	"delivery.withdrawn": {"withdrawn", "取り下げ"},

	"verdict.accepted":         {"taken", "受理"},
	"verdict.deposited":        {"in the mailbox", "メールボックスに保管"},
	"verdict.retry_now":        {"unclear, again at once", "結果不明、即時再試行"},
	"verdict.retry_backoff":    {"provider unwell, again later", "配信元の不調、後で再試行"},
	"verdict.retry_connect":    {"no connection, again", "接続不可、再試行"},
	"verdict.retry_throttled":  {"too many, again later", "送信過多、後で再試行"},
	"verdict.retry_credential": {"again with a fresh credential", "認証情報を更新して再試行"},
	"verdict.retry_other_host": {"again at the other APNs server", "別のAPNsサーバーで再試行"},
	"verdict.rejected":         {"refused", "拒否"},

	"channel.apns_voip":  {"APNs VoIP", "APNs VoIP"},
	"channel.apns_alert": {"APNs alert", "APNsアラート"},
	"channel.fcm":        {"FCM", "FCM"},
	"channel.web_push":   {"Web Push", "Web Push"},
	"channel.longpoll":   {"long polling", "ロングポーリング"},

	"type.audio":             {"audio", "音声"},
	"type.video":             {"video", "ビデオ"},
	"environment.evaluation": {"evaluation", "評価環境"},
	"environment.real":       {"real", "本番環境"},
	"purpose.missed_call":    {"missed-call notice", "不在着信のお知らせ"},
	"purpose.invitation":     {"invitation", "招待"},

	"party.caller":       {"the caller", "発信者"},
	"party.callee":       {"the callee", "着信者"},
	"party.participant":  {"a participant", "参加者"},
	"party.cloud_server": {"LINE Planet", "LINE Planet"},
	"party.app_server":   {"the app server", "アプリサーバー"},
	"party.unknown":      {"unknown", "不明"},

	"role.viewer":   {"viewer", "閲覧者"},
	"role.operator": {"operator", "運用者"},
	"role.admin":    {"administrator", "管理者"},

	"device.gone":    {"device %s (gone)", "端末 %s (削除済み)"},
	"device.untyped": {"device", "端末"},
	"device.sandbox": {"sandbox", "サンドボックス"},
}
