package verdict

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/planetbell/planetbell/internal/bell"
)

// maxEvidence bounds a verdict: a call of a hundred devices, each tried four times.
const maxEvidence = 500

// evidence is what the record says, oldest first.
func (f *facts) evidence() []Evidence {
	all := []Evidence{}
	c := &f.Call
	add := func(e Evidence) { all = append(all, e) }
	if a := f.Agent; !a.ReceivedAt.IsZero() {
		add(Evidence{At: a.ReceivedAt, What: f.agentText()})
	}
	if !c.NotifiedAt.IsZero() {
		add(Evidence{At: c.NotifiedAt, What: f.words.fill(Text{"Notify came: {caller} calls {callee}.", "Notifyを受信しました（{caller}から{callee}への発信）。"})})
	}
	if c.Circumstances.FromMemory {
		add(Evidence{At: c.NotifiedAt, What: Text{
			"The database did not take the call in time, so it rang from memory.",
			"データベースが時間内に応答しなかったため、メモリ上の情報で鳴動しました。",
		}})
	}
	for i := range f.devices {
		all = append(all, f.devices[i].evidence()...)
	}
	if n := c.Circumstances.More; n > 0 {
		count := strconv.Itoa(n)
		add(Evidence{At: c.NotifiedAt, What: Text{count + " more devices were left out.", "ほかに" + count + "台の端末が対象外でした。"}})
	}
	if c.State == bell.CallEnded && !f.shown.IsZero() {
		add(Evidence{At: f.shown, What: f.words.fill(Text{"Its Call Event came: {why} ({number}).", "Call Eventを受信しました：{why}（{number}）。"})})
	}
	slices.SortStableFunc(all, func(a, b Evidence) int { return a.At.Compare(b.At) })
	if len(all) > maxEvidence {
		all = all[:maxEvidence]
	}
	return all
}

func (f *facts) agentText() Text {
	if f.Agent.Success {
		return Text{"LINE Planet said that it has set the call up.", "LINE Planetから通話の準備完了が通知されました。"}
	}
	return f.words.fill(Text{"LINE Planet said that it could not set the call up: {agent_reason}.", "LINE Planetから通話を準備できないと通知されました：{agent_reason}。"})
}

// evidence is what is known of one device.
func (dev *device) evidence() []Evidence {
	var all []Evidence
	id := dev.verdict.DeviceID
	if n := dev.note; n != nil {
		all = append(all, Evidence{At: dev.notified, DeviceID: id, What: dev.words.fill(cmp.Or(noteTexts[n.Why], otherNote))})
	}
	if dev.d == nil {
		return all
	}
	d := &dev.d.Delivery
	for _, a := range dev.d.Attempts {
		all = append(all, Evidence{At: a.StartedAt, DeliveryID: d.ID, DeviceID: id, Attempt: a.Number, What: dev.attemptText(&a)})
	}
	if !d.ContinuedAt.IsZero() {
		all = append(all, Evidence{At: d.ContinuedAt, DeliveryID: d.ID, DeviceID: id, What: dev.words.fill(Text{
			"The process that rang {device} had stopped; another one continued.", "{device}を担当していたプロセスが停止したため、別のプロセスが引き継ぎました。",
		})})
	}
	if r := dev.d.Receipt; !r.At.IsZero() {
		text := Text{"{device} said that it has the call.", "{device}から受信確認が届きました。"}
		if r.Problem != "" {
			text = Text{"{device} said that it could not use the call: {problem}.", "{device}から、着信を処理できなかったと報告がありました：{problem}。"}
		}
		all = append(all, Evidence{At: r.At, DeliveryID: d.ID, DeviceID: id, What: dev.words.fill(text)})
	}
	if text, ok := stateTexts[d.State]; ok {
		all = append(all, Evidence{At: d.UpdatedAt, DeliveryID: d.ID, DeviceID: id, What: dev.words.fill(text)})
	}
	return all
}

// stateTexts are the ends of deliveries that no attempt tells of.
var stateTexts = map[bell.DeliveryState]Text{
	bell.DeliveryExpired:   {"The ring was over before {device} had the call.", "{device}に届く前に呼び出し時間が終了しました。"},
	bell.DeliveryWithdrawn: {"The call was over before {device} had it, so nothing more was sent.", "{device}に届く前に通話が終了したため、送信を取りやめました。"},
	bell.DeliveryFailed:    {"{device} was given up ({reason}).", "{device}への送信を断念しました（{reason}）。"},
}

var noteTexts = map[bell.NoteWhy]Text{
	bell.NoteNoChannel: {"{device} had never said how it can be reached.", "{device}は通知方法を登録していませんでした。"},
	bell.NoteForgotten: {"The push token of {device} had been removed since {since} ({held_for}).", "{device}のプッシュトークンは{since}に削除済みでした（{held_for}）。"},
	bell.NoteExpired:   {"The sign-in of {device} had ended at {since}.", "{device}のサインインは{since}に期限切れになっていました。"},
	bell.NoteSuspended: {"{device} had been suspended since {since} ({held_for}).", "{device}は{since}から一時停止中でした（{held_for}）。"},
	bell.NoteTooMany:   {"{device} was left out: others had been seen later.", "より最近使われた端末を優先したため、{device}は対象外でした。"},
}

// otherNote is of what a later version notes.
var otherNote = Text{"Something that this version does not know spoke against {device}.", "{device}には、このバージョンでは説明できない制限がありました。"}

func (dev *device) attemptText(a *bell.Attempt) Text {
	w := words{}
	w.both("n", strconv.Itoa(a.Number))
	w.span("took", a.Took)
	w["device"], w["provider"] = dev.words["device"], dev.words["provider"]
	if a.Server != "" {
		w["provider"] = Text{w["provider"].English + " " + string(a.Server), w["provider"].Japanese + " " + string(a.Server)}
	}
	answer := reasonOf(a.Outcome.Reason)
	if a.Outcome.Status != 0 {
		answer = strconv.Itoa(a.Outcome.Status) + " " + answer
	}
	w.both("answer", answer)
	switch {
	case a.Outcome.Verdict == bell.Accepted && dev.channel == bell.LongPoll:
		return w.fill(Text{"{device} fetched the call.", "{device}が着信を取得しました。"})
	case a.Outcome.Verdict == bell.Accepted:
		return w.fill(Text{"Attempt {n} for {device}: {provider} took it within {took}.", "{device}への{n}回目の送信を{provider}が{took}で受け付けました。"})
	}
	return w.fill(Text{"Attempt {n} for {device}, {took}: {provider}, {answer}.", "{device}への{n}回目の送信（{took}）：{provider}、{answer}。"})
}
