package verdict

import (
	"slices"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// callRule is a rule of calls.
type callRule struct {
	Rule
	when func(*facts) bool
}

// byDevice is the code of the rule that leaves the call's verdict to a device's.
const byDevice Code = "by_device"

// quickly is after how long a caller who hangs up gave the callee no time.
const quickly = 4 * time.Second

// atOnce is how soon after a Notify that came too late the Call Event of its call comes. Planet
// Cloud's clock may differ from this server's by as much without saying anything.
const atOnce = 2 * time.Second

var missingRule = Rule{
	"no_such_call", HopCallback, false,
	Text{"There is no such call: nothing is on record of the session {sid}.", "該当する通話はありません。セッション{sid}の記録がありません。"},
	"nothing",
	Text{
		"Check the session ID and the environment. If they are right, Planet Cloud never reached this server: check the callback URLs in the LINE Planet Console (planetbell config urls), or the record is older than what is kept.",
		"セッションIDと環境をご確認ください。正しい場合、Planet Cloudからこのサーバーへのコールバックが届いていません。LINE Planet ConsoleのコールバックURL（planetbell config urls）をご確認ください。保存期間を過ぎた記録は残りません。",
	},
}

// callRules are the rules of calls, in the order in which they are tried.
var callRules = slices.Concat(beginRules, cloudRules, silentRules, rangRules, []callRule{
	{Rule{Code: byDevice}, func(f *facts) bool { return len(f.devices) > 0 }},
	{
		Rule{
			"unknown", HopServer, false,
			Text{"The record of this call does not say why no phone rang: it has neither a device nor a reason.", "端末の情報も理由も記録されていないため、鳴動しなかった原因を特定できません。"},
			"nothing else",
			Text{"Look at the server's log at {when}, and report this as a defect of planetbell.", "{when}のサーバーログをご確認のうえ、planetbellの不具合としてご報告ください。"},
		},
		func(*facts) bool { return true },
	},
})

// beginRules are about what is no call, or did not begin as one.
var beginRules = []callRule{
	{
		Rule{
			"notice", HopServer, false,
			Text{"This is a notice and no call: nothing had to ring.", "これは通知であり通話ではないため、鳴動の対象外です。"},
			"the record's state",
			Text{},
		},
		func(f *facts) bool { return f.Call.State == bell.CallNotice || f.Call.Purpose != bell.PurposeCall },
	},
	{
		Rule{
			"agent_failed", HopCloud, false,
			Text{"LINE Planet could not set up the call that was asked for through its Server API: {agent_reason}.", "Server APIで依頼した通話をLINE Planetが準備できませんでした：{agent_reason}。"},
			"an Agent Call Status that failed, and no Notify",
			Text{"Check the request: the audio's content ID, the caller and the callee, and the environment of the API key.", "リクエスト内容（音声のコンテンツID、発信者、着信者、APIキーの環境）をご確認ください。"},
		},
		func(f *facts) bool {
			return !f.Agent.ReceivedAt.IsZero() && !f.Agent.Success && f.notified.IsZero()
		},
	},
	{
		Rule{
			"agent_without_notify", HopCallback, false,
			Text{"LINE Planet set the call up, but its Notify never came, so no device was asked to ring.", "LINE Planetは通話を準備しましたが、Notifyが届かなかったため、どの端末にも通知していません。"},
			"an Agent Call Status, and nothing else",
			Text{"Check the Notify URL (notify_cb) that is registered for this API key; planetbell config urls prints it.", "このAPIキーに登録したNotify URL（notify_cb）をご確認ください。planetbell config urlsで表示できます。"},
		},
		func(f *facts) bool { return f.Call.State == "" && !f.Agent.ReceivedAt.IsZero() },
	},
	{
		Rule{
			"answered", HopCallee, true,
			Text{"It rang: {callee} answered, and they talked for {talked}.", "鳴動し、{callee}が応答しました（通話時間{talked}）。"},
			"the Call Event's duration or start",
			Text{},
		},
		func(f *facts) bool { return f.Call.Outcome == planet.OutcomeCompleted },
	},
	{
		Rule{
			"answered_elsewhere", HopCallee, true,
			Text{"It rang: {callee} answered on another device.", "鳴動し、{callee}が別の端末で応答しました。"},
			"disconnect_reason 1206 or rel_code 7",
			Text{},
		},
		func(f *facts) bool { return f.is(1206) },
	},
	{
		Rule{
			"declined_elsewhere", HopCallee, true,
			Text{"It rang: {callee} declined on another device.", "鳴動し、{callee}が別の端末で応答を拒否しました。"},
			"disconnect_reason 1207 or rel_code 8",
			Text{},
		},
		func(f *facts) bool { return f.is(1207) },
	},
	{
		Rule{
			"declined", HopCallee, true,
			Text{"It rang: {callee} declined the call {ended} after Notify.", "鳴動し、Notifyの{ended}後に{callee}が応答を拒否しました。"},
			"the outcome declined, and a Notify",
			Text{},
		},
		func(f *facts) bool { return f.Call.Outcome == planet.OutcomeDeclined && !f.notified.IsZero() },
	},
	{
		Rule{
			"busy_on_device", HopCallee, true,
			Text{"{device} was told {rang} after Notify, and the call was ended as busy: {why} ({number}).", "Notifyの{rang}後に{device}へ通知しましたが、話中として終了しました。終了理由：{why}（{number}）。"},
			"a reason that says busy: disconnect_reason 1202, 1204 or 1205, or terminate 17; and a device that was told",
			Text{"Nothing has to be repaired: who is in a call, or is being called already, is busy for further calls.", "対応は不要です。通話中または着信中のユーザーへの着信は話中になります。"},
		},
		func(f *facts) bool { return f.Call.Outcome == planet.OutcomeBusy && f.rang() != nil },
	},
	{
		Rule{
			"another_call_came_first", HopCallee, false,
			Text{"Another call was coming in for {callee} already, so Planet Cloud ended this one ({number}).", "{callee}には別の着信があったため、Planet Cloudがこの着信を終了しました（{number}）。"},
			"disconnect_reason 1204 or rel_code 215, and no device that was told",
			Text{"Nothing has to be repaired: only one call rings for a user at a time.", "対応は不要です。1人のユーザーに同時に鳴動する着信は1件のみです。"},
		},
		func(f *facts) bool { return f.is(1204) },
	},
	{
		Rule{
			"busy", HopCallee, false,
			Text{"{callee} was in a call already, so this one ended without ringing ({number}).", "{callee}は通話中だったため、鳴動せずに終了しました（{number}）。"},
			"a reason that says busy: disconnect_reason 1202 or 1205, or terminate 17; and no device that was told",
			Text{"Nothing has to be repaired: for a callee who is in a call there is often no Notify, and no device is asked to ring.", "対応は不要です。通話中のユーザーへの着信ではNotifyが届かないことがあり、端末は鳴動しません。"},
		},
		func(f *facts) bool { return f.Call.Outcome == planet.OutcomeBusy },
	},
}

// is reports whether the call ended for a disconnect reason, or for a number of another family
// that is the same. The number is the one that decides the outcome too: disconnect_reason goes
// before call_end_reason, that before rel_code, and terminate comes last.
func (f *facts) is(reasons ...int) bool {
	why := f.Call.Release.Explain(planet.OneToOneCalls)
	reason := why.Reason.Code
	switch why.Family {
	case planet.FamilyDisconnectReason:
	case planet.FamilyCallEndReason:
		reason = oldReasons[reason]
	case planet.FamilyReleaseCode:
		reason = planet.DisconnectReasonOf(reason)
	case planet.FamilyTerminate:
		reason = causes[reason]
	default:
		return false
	}
	return slices.Contains(reasons, reason)
}

// causes are the disconnect reasons that mean the same as those of terminate.
var causes = map[int]int{16: 1001, 17: 1202, 18: 1203, 21: 1002, 77: 1201}

// oldReasons are the disconnect reasons that mean the same as those of the old edition.
var oldReasons = map[int]int{
	1000: 1201, 1001: 1202, 1002: 1203, 1003: 1002, 1024: 1205,
	1010: 1301, 1011: 1301, 1012: 1109, 1013: 1109, 1014: 1003, 1015: 1003, 1016: 1109, 1017: 1109,
	1018: 1303, 1019: 1303, 1020: 1302, 1021: 1305, 1022: 1109, 1023: 1109, 1025: 1109, 1026: 1109,
}

// released reports whether a rel_code came.
func (f *facts) released(code int) bool {
	return f.Call.Release.Code != nil && *f.Call.Release.Code == code
}

func (f *facts) unnotified() bool { return f.notified.IsZero() && f.Call.State == bell.CallEnded }

// silentRules are about calls for which no device was tried.
var silentRules = []callRule{
	{
		Rule{
			"canceled_before_notify", HopCaller, false,
			Text{"{caller} hung up before Planet Cloud asked this server to ring: Notify never came.", "Planet CloudからNotifyが届く前に{caller}が発信を取り消しました。"},
			"the outcome canceled, and no Notify",
			Text{"If this happens to calls that lasted some seconds, check the Notify URL (notify_cb) in the LINE Planet Console.", "数秒以上続いた発信でも発生する場合は、LINE Planet ConsoleのNotify URL（notify_cb）をご確認ください。"},
		},
		func(f *facts) bool { return f.unnotified() && f.Call.Outcome == planet.OutcomeCanceled },
	},
	{
		Rule{
			"never_asked", HopCallback, false,
			Text{"Planet Cloud never asked this server to ring: a Call Event came ({number}), but no Notify before it.", "Call Event（{number}）は届きましたがNotifyが届いていないため、このサーバーは鳴動の依頼を受けていません。"},
			"a Call Event without a Notify",
			Text{"Check that the Notify URL (notify_cb) registered for this API key is this server's; planetbell config urls prints it.", "このAPIキーに登録したNotify URL（notify_cb）がこのサーバーのものかをご確認ください。planetbell config urlsで表示できます。"},
		},
		(*facts).unnotified,
	},
	{
		Rule{
			"notify_after_end", HopCallback, false,
			Text{"The call's own Call Event came {overtook} Notify, and before this server had asked any device: the call was over by then, so nothing rang.", "Notifyの{overtook}、端末へ通知する前に、この通話のCall Eventが届きました。通話は終了していたため、鳴動していません。"},
			"a note that the Call Event was on record before Notify was",
			Text{"Nothing has to be repaired if the caller hung up at once; else look for what delays Notify: a slow proxy in front, a server that was starting, several addresses behind the URL, or a slow policy hook.", "発信者が直ちに取り消した場合は対応不要です。それ以外はNotifyの遅延要因（前段のプロキシ、起動中のサーバー、URLの背後の複数アドレス、ポリシーフックの遅延）をご確認ください。"},
		},
		func(f *facts) bool { return f.Call.Circumstances.Overtaken },
	},
	{
		Rule{
			"notify_late", HopCallback, false,
			Text{"Notify came when the caller had ended the call already, {cloud_early} before by Planet Cloud's clock.", "Planet Cloudの時計で{cloud_early}前に発信者が通話を終了した後に、Notifyが届きました。"},
			"an end, in Planet Cloud's time, that lies more than two seconds before Notify, a Call Event that came within two seconds of Notify, and no device that was told",
			Text{"Look for what delays Notify (a proxy, a restart), and check that this machine's clock is right.", "Notifyの遅延要因（プロキシ、再起動）と、このサーバーの時計をご確認ください。"},
		},
		func(f *facts) bool {
			return f.Call.State == bell.CallEnded && !f.notified.IsZero() && !f.Call.EndedAt.IsZero() && f.Call.EndedAt.Add(atOnce).Before(f.notified) &&
				f.rang() == nil && f.over.Sub(f.notified) < atOnce // else it is the clocks that differ
		},
	},
	{
		Rule{
			"blocked", HopCallee, false,
			Text{"{callee} blocks {caller}, so nothing rang on purpose.", "{callee}が{caller}をブロックしているため、鳴動させていません。"},
			"the call is suppressed: blocked",
			Text{"If that is not wanted, change the callee's rules (planetbell's admin API, or the app).", "意図しない場合は、着信者の設定（管理APIまたはアプリ）を変更してください。"},
		},
		func(f *facts) bool { return f.Call.Suppressed == bell.SuppressBlocked },
	},
	{
		Rule{
			"do_not_disturb", HopCallee, false,
			Text{"{callee} wanted no calls at that time (do not disturb), so nothing rang on purpose.", "{callee}が着信拒否（おやすみモード）を設定していたため、鳴動させていません。"},
			"the call is suppressed: do_not_disturb",
			Text{"If that is not wanted, change the callee's do-not-disturb times.", "意図しない場合は、着信者のおやすみモードの時間帯を変更してください。"},
		},
		func(f *facts) bool { return f.Call.Suppressed == bell.SuppressDoNotDisturb },
	},
	{
		Rule{
			"refused_by_policy", HopServer, false,
			Text{"The policy hook of project {project} said no, so nothing rang on purpose.", "プロジェクト{project}のポリシーフックが拒否したため、鳴動させていません。"},
			"the call is suppressed: policy",
			Text{"Ask whoever runs the policy hook why it refuses {caller} to {callee}.", "{caller}から{callee}への着信を拒否した理由を、ポリシーフックの担当者にご確認ください。"},
		},
		func(f *facts) bool { return f.Call.Suppressed != bell.RingsAll },
	},
	{
		Rule{
			"no_device", HopDevice, false,
			Text{"{callee} had no device registered when the call came in, so there was nothing to ring.", "着信時に{callee}の端末が登録されていなかったため、鳴動させる対象がありませんでした。"},
			"a Notify, no delivery, and no device that was left out",
			Text{"Have {callee} sign in on a device; planetbell device list --user shows what is registered. Check that the environment and service ID of app and project are the same.", "{callee}に端末でサインインしてもらってください。登録状況はplanetbell device list --userで確認できます。アプリとプロジェクトの環境・サービスIDが一致しているかもご確認ください。"},
		},
		func(f *facts) bool { return !f.notified.IsZero() && len(f.devices) == 0 },
	},
	{
		Rule{
			"no_reachable_device", HopDevice, false,
			Text{"None of the devices of {callee} could be reached when the call came in: each was left out, for different reasons.", "着信時に{callee}の端末はいずれも通知できない状態でした（理由は端末ごとに異なります）。"},
			"a Notify, no delivery, and devices that were left out for more than one reason",
			Text{"Have {callee} open the app on one of them; each device's own line says more.", "いずれかの端末でアプリを開くよう{callee}にご案内ください。詳細は端末ごとの説明をご確認ください。"},
		},
		func(f *facts) bool {
			if len(f.Deliveries) > 0 || len(f.devices) < 2 {
				return false
			}
			return slices.ContainsFunc(f.devices, func(d device) bool { return d.note.Why != f.devices[0].note.Why })
		},
	},
}

// rangRules are about calls of which some device rang.
var rangRules = []callRule{
	{
		Rule{
			"ringing", HopDevice, true,
			Text{"It is ringing now: {device} was told {rang} after Notify.", "現在鳴動中です。Notifyの{rang}後に{device}へ通知しました。"},
			"a device that was told, and a ring that is not over",
			Text{},
		},
		func(f *facts) bool {
			return f.rang() != nil && f.Call.State == bell.CallRinging && f.Now.Before(f.Call.Deadline)
		},
	},
	{
		Rule{
			"rang_from_memory", HopDatabase, true,
			Text{"It rang from memory, because the database was in trouble: {device} was told {rang} after Notify.", "データベースに障害がありましたが、メモリ上の情報で鳴動しました。Notifyの{rang}後に{device}へ通知しました。"},
			"a device that was told, and a call that the database did not take in time",
			Text{"Look at the database: the log tells since when it is slow, full or away.", "データベースの状態をご確認ください。遅延・容量不足・停止の発生時刻はログに記録されています。"},
		},
		func(f *facts) bool { return f.rang() != nil && f.Call.Circumstances.FromMemory },
	},
	{
		Rule{
			"lost", HopCallback, true,
			Text{"It rang: {device} was told {rang} after Notify; how it ended is not known, because its Call Event has not come.", "鳴動しました。Notifyの{rang}後に{device}へ通知しましたが、Call Eventが届いていないため終了理由は不明です。"},
			"a device that was told, and a call whose Call Event was waited for in vain",
			Text{"Check the Call Event URL (on_call_evt_cb) in the LINE Planet Console.", "LINE Planet ConsoleでCall Event URL（on_call_evt_cb）をご確認ください。"},
		},
		func(f *facts) bool { return f.rang() != nil && f.Call.State == bell.CallLost },
	},
	{
		Rule{
			"no_call_event_yet", HopCallback, true,
			Text{"It rang: {device} was told {rang} after Notify; no Call Event has come yet, so they may be talking.", "鳴動しました。Notifyの{rang}後に{device}へ通知しました。Call Eventはまだ届いていないため、通話中の可能性があります。"},
			"a device that was told, a ring that is over, and no Call Event yet",
			Text{
				"Wait: the Call Event comes when the call ends. If it does not, check the Call Event URL (on_call_evt_cb) in the LINE Planet Console.",
				"Call Eventは通話の終了時に届きます。届かない場合は、LINE Planet ConsoleでCall Event URL（on_call_evt_cb）をご確認ください。",
			},
		},
		func(f *facts) bool { return f.rang() != nil && f.Call.State != bell.CallEnded },
	},
	{
		Rule{
			"canceled_quickly", HopCaller, true,
			Text{"{caller} hung up {ended} after Notify: {device} was told after {rang}, and had {left} to ring.", "Notifyの{ended}後に{caller}が発信を取り消しました。{device}への通知は{rang}後で、鳴動できたのは{left}間です。"},
			"the outcome canceled within 4 s of Notify, and a device that was told",
			Text{"Nothing has to be repaired: a phone needs a second or two from the push to its ring.", "対応は不要です。プッシュの受信から鳴動までには1〜2秒かかります。"},
		},
		func(f *facts) bool {
			return f.rang() != nil && f.Call.Outcome == planet.OutcomeCanceled && f.over.Sub(f.notified) < quickly
		},
	},
	{
		Rule{
			"canceled", HopCaller, true,
			Text{"It rang: {device} was told {rang} after Notify, and {caller} hung up after {ended} without an answer.", "鳴動しました。Notifyの{rang}後に{device}へ通知し、{ended}後に{caller}が発信を取り消しました。"},
			"the outcome canceled, and a device that was told",
			Text{},
		},
		func(f *facts) bool { return f.rang() != nil && f.Call.Outcome == planet.OutcomeCanceled },
	},
	{
		Rule{
			"unanswered", HopCallee, true,
			Text{"It rang: {device} was told {rang} after Notify, and nobody answered.", "鳴動しました。Notifyの{rang}後に{device}へ通知しましたが、応答がありませんでした。"},
			"the outcome missed, and a device that was told",
			Text{
				"If the callee says that nothing rang: LINE's apps send no receipts, so whether the phone showed the call is not known. Look at the phone's notification settings, and let own apps acknowledge calls.",
				"着信者が鳴動しなかったと言う場合：LINE公式のデモアプリは受信確認を送らないため、端末での表示は確認できません。端末の通知設定をご確認ください。自社アプリでは受信確認の送信をお勧めします。",
			},
		},
		func(f *facts) bool { return f.rang() != nil && f.Call.Outcome == planet.OutcomeMissed },
	},
	{
		Rule{
			"rang", HopCloud, true,
			Text{"It rang: {device} was told {rang} after Notify; the call ended because: {why} ({number}).", "鳴動しました。Notifyの{rang}後に{device}へ通知しました。終了理由：{why}（{number}）。"},
			"a device that was told",
			Text{},
		},
		func(f *facts) bool { return f.rang() != nil },
	},
}
