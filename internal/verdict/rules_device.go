package verdict

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// deviceRule is a rule of devices.
type deviceRule struct {
	Rule
	when func(*device) bool
}

const (
	// heldBack is how long before the ring's end a delivery without a further attempt must
	// have been held back by the route's guards: no pause of the retry policy is so long.
	heldBack = 8 * time.Second
	// slow is after how long a device that is told has cost the caller patience.
	slow = 5 * time.Second
	// receiptGrace is how long a receipt may take before its lack says anything.
	receiptGrace = 5 * time.Second
	// away is how long after a ring's end its open deliveries are marked at the latest while a
	// process lives and its database answers: every second they are looked for, and before that a
	// slow database is waited for, 10 s at most.
	away = 15 * time.Second
)

func numbers(all []int) string {
	var b strings.Builder
	for i, n := range all {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}

// deviceRules are the rules of devices, in the order in which they are tried. Of devices that
// did not ring, the earliest rule is the call's: what somebody has to repair comes first, and
// what ended by itself last.
var deviceRules = slices.Concat(takenRules, awayRules, openRules, ownRules, refusalRules, endRules, leftOutRules, []deviceRule{{
	Rule{
		"not_explained", HopServer, false,
		Text{"{device} did not ring, and its record has no reason that this version knows ({reason}).", "{device}は鳴動しませんでしたが、このバージョンでは理由を説明できません（{reason}）。"},
		"nothing else",
		Text{"planetbell call show tells every attempt.", "planetbell call showですべての送信履歴を確認できます。"},
	},
	func(*device) bool { return true },
}})

func (dev *device) state() bell.DeliveryState {
	if dev.d == nil {
		return ""
	}
	return dev.d.Delivery.State
}

func (dev *device) polls() bool { return dev.channel == bell.LongPoll }

// had reports whether the device's provider, or its poll, took the call.
func (dev *device) had() bool {
	return !dev.taken.IsZero() || dev.state() == bell.DeliveryAccepted
}

// acknowledges reports whether the device had sent receipts before this call.
func (dev *device) acknowledges() bool {
	since := dev.d.Device.AcknowledgesSince
	return !since.IsZero() && since.Before(dev.notified)
}

// silent reports whether a receipt that was to be expected did not come.
func (dev *device) silent() bool {
	if dev.d == nil || !dev.d.Receipt.At.IsZero() || !dev.had() {
		return false
	}
	if dev.polls() { // one that acknowledges is not accepted without its receipt
		return dev.state() != bell.DeliveryAccepted && dev.state() != bell.DeliveryReceived && dev.Now.After(dev.taken.Add(receiptGrace))
	}
	return dev.acknowledges() && dev.Now.After(dev.taken.Add(receiptGrace)) &&
		(dev.over.IsZero() || dev.over.After(dev.taken.Add(receiptGrace)))
}

// late reports whether a moment was after the ring.
func (dev *device) late(t time.Time) bool {
	end := dev.ringEnd()
	return !t.IsZero() && !end.IsZero() && t.After(end)
}

// receivedLate reports whether the way from the provider to the device took so long that its
// receipt came after the ring. What was accepted late itself, or just before the end, is not.
func (dev *device) receivedLate() bool {
	if dev.d == nil || !dev.late(dev.d.Receipt.At) || dev.late(dev.taken) {
		return false
	}
	return dev.taken.IsZero() || dev.d.Receipt.At.Sub(dev.taken) >= slow
}

// otherHost is the first attempt for which the other APNs server was to be asked; its Number is
// 0 when there was none.
func (dev *device) otherHost() bell.Attempt {
	all := dev.attempts()
	i := slices.IndexFunc(all, func(a bell.Attempt) bool { return a.Outcome.Verdict == bell.RetryOtherHost })
	if i < 0 {
		return bell.Attempt{}
	}
	return all[i]
}

// repaired reports whether the other APNs server took what the device's own one refused.
func (dev *device) repaired() bool { return dev.otherHost().Number != 0 }

// attemptTimes is what to do when a push was slow and no attempt failed.
var attemptTimes = Text{
	"Look at the attempt's times: one that began late means that this server had too much to do, one that took long that {provider} or the way to it was slow.",
	"送信履歴の時刻をご確認ください。開始が遅い場合はサーバーの負荷、時間がかかっている場合は{provider}または経路の遅延が考えられます。",
}

// takenRules are about what reached the device, or its provider.
var takenRules = []deviceRule{
	{
		Rule{
			"app_failed", HopApp, false,
			Text{"{device} got the call, but its app could not use it: {problem}.", "{device}は着信を受信しましたが、アプリが処理できませんでした：{problem}。"},
			"a receipt that names a problem",
			Text{"Hand cc_param to PlanetKit's verifyCall as it came: not trimmed, not decoded again (a + that became a space is the usual cause).", "cc_paramを受信したままPlanetKitのverifyCallに渡してください（再デコードや空白除去をしないこと。+が空白に変わる例が多く見られます）。"},
		},
		func(d *device) bool { return d.d != nil && d.d.Receipt.Problem != "" },
	},
	{
		Rule{
			"received_late_low_priority", HopNetwork, false,
			Text{"{device} received the call {received_late} after it was over: Google had lowered the message's priority.", "{device}は通話終了の{received_late}後に受信しました。GoogleがメッセージのPriorityを引き下げています。"},
			"a receipt after the end, 5 s or more after the acceptance, whose priority is lower than the one it was sent with",
			Text{"Let the app show a notification for every call at once: Google lowers the priority of apps that do not.", "着信ごとに直ちに通知を表示するようアプリを修正してください。表示しないアプリの優先度はGoogleにより引き下げられます。"},
		},
		func(d *device) bool {
			return d.receivedLate() && d.d.Receipt.Priority == "normal" && d.d.Receipt.OriginalPriority == "high"
		},
	},
	{
		Rule{
			"received_late", HopNetwork, false,
			Text{"{device} received the call {received_late} after it was over.", "{device}が着信を受信したのは通話終了の{received_late}後でした。"},
			"a receipt after the call's end, 5 s or more after the acceptance",
			Text{"The way from the provider to the phone was slow: its network, or a power saving mode. planetbell's own part took {accepted}.", "配信事業者から端末までの経路（ネットワーク、省電力モード）が遅延しています。planetbellからの送信は{accepted}でした。"},
		},
		(*device).receivedLate,
	},
	{
		Rule{
			"received", HopDevice, true,
			Text{"{device} rang: it said so {received} after Notify.", "{device}は鳴動しました（Notifyの{received}後に受信確認）。"},
			"a receipt before the call's end",
			Text{},
		},
		func(d *device) bool { return d.d != nil && !d.d.Receipt.At.IsZero() && !d.late(d.d.Receipt.At) },
	},
	{
		Rule{
			"received_at_end", HopDevice, true,
			Text{"{device} was told {accepted} after Notify, and said {received} after Notify that it has the call: it was over by then.", "Notifyの{accepted}後に{device}へ通知し、Notifyの{received}後に受信確認が届きましたが、その時点で通話は終了していました。"},
			"an acceptance before the call's end, and a receipt after it, less than 5 s later",
			Text{"Nothing has to be repaired: a phone needs a second or two from the push to its receipt.", "対応は不要です。プッシュの受信から受信確認までには1〜2秒かかります。"},
		},
		func(d *device) bool { return d.d != nil && !d.d.Receipt.At.IsZero() && d.had() && !d.late(d.taken) },
	},
	{
		Rule{
			"poll_not_acknowledged", HopNetwork, false,
			Text{"The call was written to {device}'s poll {accepted} after Notify, but its app never acknowledged it: the answer was probably lost on the way.", "Notifyの{accepted}後に{device}のポーリングへ応答しましたが、受信確認がありません。応答が途中で失われた可能性があります。"},
			"a poll that was answered, of a client that acknowledges, and no receipt",
			Text{"Look at proxies that cut long polls (idle timeout), and at the app's log.", "ロングポーリングを切断するプロキシ（アイドルタイムアウト）とアプリのログをご確認ください。"},
		},
		func(d *device) bool { return d.polls() && d.silent() },
	},
	{
		Rule{
			"never_received", HopNetwork, false,
			Text{"{provider} took the push for {device} {accepted} after Notify, but the app, which acknowledges calls, never said that it has it.", "{provider}はNotifyの{accepted}後に{device}宛てのプッシュを受け付けましたが、受信確認に対応したアプリから確認が届いていません。"},
			"an accepted push, and no receipt from a device that had sent some before",
			Text{"The phone was off or without network, or the app may not run in the background: look at power saving and at the app's notification permission.", "端末の電源・通信状態、省電力設定、アプリの通知許可をご確認ください。"},
		},
		func(d *device) bool { return d.silent() },
	},
	{
		Rule{
			"accepted_late", HopProvider, false,
			Text{"{provider} took the push for {device} {late} after the call was over; the first attempt had failed with {first_reason}.", "{provider}が{device}宛てのプッシュを受け付けたのは通話終了の{late}後でした（最初の失敗：{first_reason}）。"},
			"an acceptance after the call's end, and an attempt before it that failed",
			Text{"Look at the attempts before it: they tell what was slow.", "それ以前の送信履歴で遅延の原因をご確認ください。"},
		},
		func(d *device) bool { return d.had() && d.late(d.taken) && d.refused.Number != 0 },
	},
	{
		Rule{
			"accepted_late_at_first", HopProvider, false,
			Text{"{provider} took the push for {device} {late} after the call was over, though no attempt had failed.", "失敗した送信はありませんが、{provider}が{device}宛てのプッシュを受け付けたのは通話終了の{late}後でした。"},
			"an acceptance after the call's end, and no attempt that failed",
			attemptTimes,
		},
		func(d *device) bool { return d.had() && d.late(d.taken) && !d.polls() },
	},
	{
		Rule{
			"fetched_after_end", HopDevice, false,
			Text{"{device} fetched the call {late} after it was over.", "{device}が着信を取得したのは通話終了の{late}後でした。"},
			"a poll that took the call after its end",
			Text{"Let the app keep a poll open all the time, and begin the next one at once.", "アプリが常にポーリングを維持し、直ちに次のポーリングを開始するようにしてください。"},
		},
		func(d *device) bool { return d.had() && d.late(d.taken) },
	},
	{
		Rule{
			"wrong_apns_server_repaired", HopDevice, true,
			Text{"APNs {server} refused the token of {device} as {server_reason}; {other} accepts it: a debug build registered as a release, or the other way round. Repaired, and told {accepted} after Notify.", "APNs {server}は{device}のトークンを{server_reason}として拒否しましたが、{other}では受け付けられました（デバッグ版とリリース版の登録の取り違え）。自動修正済みで、Notifyの{accepted}後に通知しました。"},
			"an attempt that one APNs server refused as BadDeviceToken, and one that the other took",
			Text{"Nothing: the next call goes to the right server at once. Let the app say apnsServer when it registers.", "対応は不要です。次回から正しいサーバーに送信します。アプリの登録時にAPNs環境を指定することをお勧めします。"},
		},
		func(d *device) bool { return d.had() && d.repaired() },
	},
	{
		Rule{
			"fetched_late", HopDevice, true,
			Text{"{device} fetched the call only {accepted} after Notify: it was not polling when the call came in.", "{device}が着信を取得したのはNotifyの{accepted}後でした。着信時にポーリングしていなかったためです。"},
			"a poll that took the call 5 s or more after Notify",
			Text{"Let the app keep a poll open all the time, and begin the next one at once.", "アプリが常にポーリングを維持し、直ちに次のポーリングを開始するようにしてください。"},
		},
		func(d *device) bool { return d.had() && d.polls() && d.verdict.ToAccept >= Span(slow) },
	},
	{
		Rule{
			"fetched", HopDevice, true,
			Text{"{device} fetched the call {accepted} after Notify.", "{device}はNotifyの{accepted}後に着信を取得しました。"},
			"a poll that took the call",
			Text{},
		},
		func(d *device) bool { return d.had() && d.polls() },
	},
	{
		Rule{
			"told_late", HopProvider, true,
			Text{"{device} was told only {accepted} after Notify: the first attempt had failed with {first_reason}.", "{device}への通知はNotifyの{accepted}後でした（最初の失敗：{first_reason}）。"},
			"a push that was accepted 5 s or more after Notify, and an attempt before it that failed",
			Text{"Look at the attempts: {provider} was unwell or could not be reached.", "送信履歴をご確認ください。{provider}の不調または接続不良が考えられます。"},
		},
		func(d *device) bool { return d.had() && d.verdict.ToAccept >= Span(slow) && d.refused.Number != 0 },
	},
	{
		Rule{
			"told_late_at_first", HopProvider, true,
			Text{"{device} was told only {accepted} after Notify, though no attempt had failed.", "失敗した送信はありませんが、{device}への通知はNotifyの{accepted}後でした。"},
			"a push that was accepted 5 s or more after Notify, and no attempt that failed",
			attemptTimes,
		},
		func(d *device) bool { return d.had() && d.verdict.ToAccept >= Span(slow) },
	},
	{
		Rule{
			"told", HopDevice, true,
			Text{"{provider} took the push for {device} {accepted} after Notify; there is no receipt, so this is as far as it can be followed.", "{provider}はNotifyの{accepted}後に{device}宛てのプッシュを受け付けました。受信確認がないため、追跡できるのはここまでです。"},
			"an accepted push",
			Text{},
		},
		func(d *device) bool { return d.had() },
	},
}

// awayRules are about rings that ended while nobody was there. What was tried before says nothing
// then of why it was not tried again, nor does what a mailbox kept.
var awayRules = []deviceRule{{
	Rule{
		"server_away", HopServer, false,
		Text{"This server, or its database, was away when the ring of {device} ended, and was back {away} after that: until then nothing more could be done.", "{device}への呼び出しの終了時にこのサーバーまたはデータベースが停止しており、復旧はその{away}後でした。その間は何も行えませんでした。"},
		"a delivery that was still open 15 s after the ring's end, and neither a refusal nor an attempt in the ring's last 8 s",
		Text{"Look in the log for when the process ended, and since when the database was away; several nodes continue what one of them leaves within seconds.", "プロセスの停止時刻とデータベースの停止時刻をログでご確認ください。複数ノード構成では、ほかのノードが数秒以内に引き継ぎます。"},
	},
	(*device).abandoned,
}}

// abandoned reports whether nobody was there at the ring's end.
func (dev *device) abandoned() bool {
	if dev.d == nil || dev.d.Delivery.Deadline.IsZero() || dev.openAfterEnd() <= away {
		return false
	}
	// A process that lives may go on ringing without its database, and its attempts are recorded later.
	last := dev.last
	return last.Number == 0 || last.Outcome.Verdict != bell.Rejected &&
		dev.d.Delivery.Deadline.Sub(last.StartedAt.Add(last.Took)) > heldBack
}

// openAfterEnd is how long after the ring's end the delivery was still open.
func (dev *device) openAfterEnd() time.Duration {
	d := &dev.d.Delivery
	switch {
	case !d.State.Final():
		return dev.Now.Sub(d.Deadline)
	case d.State == bell.DeliveryExpired, d.State == bell.DeliveryWithdrawn:
		return d.UpdatedAt.Sub(d.Deadline)
	}
	return 0
}

// openRules are about what may still reach the device.
var openRules = []deviceRule{
	{
		Rule{
			"under_way", HopProvider, false,
			Text{"{device} is still being tried: {attempts} attempts until now.", "{device}への送信は継続中です（これまでに{attempts}回）。"},
			"a push whose delivery is open, before the ring's end",
			Text{},
		},
		func(d *device) bool { return d.d != nil && !d.state().Final() && !d.polls() },
	},
	{
		Rule{
			"waits_for_poll", HopDevice, false,
			Text{"The call lies in the mailbox until {device} polls.", "{device}のポーリングを待っています。"},
			"a delivery in a mailbox that is open, before the ring's end",
			Text{"If the app runs, look at why it does not poll.", "アプリが起動している場合は、ポーリングしない理由をご確認ください。"},
		},
		func(d *device) bool { return d.d != nil && !d.state().Final() },
	},
}
