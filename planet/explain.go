package planet

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Family is one of the four kinds of numbers by which LINE Planet says why a call ended,
// named as its callbacks name it. There is no official mapping between them.
type Family string

// The values of [Family], the most telling first.
const (
	FamilyDisconnectReason Family = "disconnect_reason"
	FamilyCallEndReason    Family = "call_end_reason"
	FamilyReleaseCode      Family = "rel_code"
	FamilyTerminate        Family = "terminate"
)

// Party is who ended a call, or a participation in a group call.
type Party string

// The values of [Party].
const (
	PartyUnknown     Party = "unknown" // LINE Planet did not say, and the reason leaves it open
	PartyCaller      Party = "caller"
	PartyCallee      Party = "callee"
	PartyParticipant Party = "participant"
	PartyCloud       Party = "cloud_server"
	PartyAppServer   Party = "app_server"
)

// In names the party in a language, to stand inside a sentence. A value that is none of
// the above is named as unknown.
func (p Party) In(l Language) string {
	names, ok := partyNames[p]
	if !ok {
		names = partyNames[PartyUnknown]
	}
	return names.in(l)
}

// words are one text in both languages.
type words struct{ en, ja string }

func (w words) in(l Language) string {
	if l == Japanese {
		return w.ja
	}
	return w.en
}

var partyNames = map[Party]words{
	PartyUnknown:     {"not known", "不明"},
	PartyCaller:      {"the caller", "発信者"},
	PartyCallee:      {"the callee", "着信者"},
	PartyParticipant: {"a participant", "参加者"},
	PartyCloud:       {"Planet Cloud", "Planet Cloud"},
	PartyAppServer:   {"the app server", "アプリサーバー"},
}

// Explanation is a release in plain language. Make one with [Release.Explain].
type Explanation struct {
	// Family is whose number decided: the one that [CallEvent.Outcome] goes by, or, if none
	// decides, the most telling that came. Empty if no number came at all.
	Family Family
	// Reason is that number; the zero value if none came.
	Reason ReasonInfo
	// EndedBy is who ended it, as far as LINE Planet says so or the reason leaves no choice.
	EndedBy Party
}

// Explain says in plain language why and by whom a call, or a participation in a group
// call, ended. It works for every release, also an empty one and one with numbers that
// LINE Planet added later. Some numbers mean one thing in a 1-to-1 call and another in a
// group call; kind says which it was, and with [AllCalls] both are named.
//
// Who ended it is what releaser_type says, else the old edition's releaser, else the only
// one who can be the source of the reason, else [PartyUnknown].
func (r Release) Explain(kind CallKind) Explanation {
	d := r.deciding()
	e := Explanation{Family: d.family, Reason: d.reason, EndedBy: r.endedBy(d)}
	if meaning, ok := meaningsByKind[e.Reason.Code][kind]; ok && e.Family == FamilyDisconnectReason {
		e.Reason.Meaning, e.Reason.japanese = meaning.en, meaning.ja
	}
	return e
}

// meaningsByKind are those of disconnect reasons that depend on the kind of call.
var meaningsByKind = map[int]map[CallKind]words{
	1002: {
		OneToOneCalls: {"the callee refused", "着信者が応答を拒否しました"},
		GroupCalls:    {"the user joined again, and the earlier presence was dropped", "同じユーザーが入り直したため、以前の参加が終了しました"},
	},
	1110: {
		OneToOneCalls: {"the application ended it for a reason of its own", "アプリ独自の理由で終了しました"},
		GroupCalls: {
			"the application, or a kick-out by the app server, ended it for a reason of its own",
			"アプリ独自の理由、またはアプリサーバーによる退出処理により終了しました",
		},
	},
}

// What says what happened, in one sentence with its full stop. It is never empty.
func (e Explanation) What(l Language) string {
	switch {
	case e.Family == "":
		return words{"LINE Planet gave no reason.", "LINE Planetから理由は通知されませんでした。"}.in(l)
	case !e.Reason.Known:
		return fmt.Sprintf(words{
			"LINE Planet gave the %s %d, which this version does not know.",
			"LINE Planetから%s %dが通知されましたが、このバージョンでは説明できません。",
		}.in(l), e.Family, e.Reason.Code)
	case e.Family == FamilyReleaseCode && generic(e.Reason.Code):
		// All that is public of these numbers is the name and the part of the system.
		return fmt.Sprintf(words{"%s (%s).", "%s（%s）。"}.in(l), sentence(e.Reason.In(l)), e.Reason.Name)
	}
	return sentence(e.Reason.In(l)) + words{".", "。"}.in(l)
}

// Who says who ended it, in one sentence. It is never empty.
func (e Explanation) Who(l Language) string {
	if name := e.EndedBy.In(l); name != partyNames[PartyUnknown].in(l) {
		return fmt.Sprintf(words{"It was ended by %s.", "終了させたのは%sです。"}.in(l), name)
	}
	return words{"It is not known who ended it.", "誰が終了させたかは不明です。"}.in(l)
}

// Advice says what the operator of an app server can do about it, in whole sentences. It is
// empty where there is nothing to be done.
func (e Explanation) Advice(l Language) string { return adviceOf(e.Family, e.Reason).in(l) }

func sentence(clause string) string {
	first, size := utf8.DecodeRuneInString(clause)
	return string(unicode.ToUpper(first)) + clause[size:]
}

func generic(code int) bool {
	_, own := releaseCodeMeanings[code]
	return !own
}

func (r Release) endedBy(d decision) Party {
	if r.ReleaserType != nil {
		switch *r.ReleaserType {
		case 1:
			return PartyCallee
		case 2:
			return PartyCaller
		case 3:
			return PartyParticipant
		case 4:
			return PartyCloud
		case 5:
			return PartyAppServer
		}
	}
	switch releaser := strings.ToLower(strings.TrimSpace(r.Releaser)); releaser {
	case "":
		return onlySource(d)
	case "initiator":
		return PartyCaller
	case "responder":
		return PartyCallee
	default: // the name of one of Planet Cloud's hosts
		return PartyCloud
	}
}

// onlySource returns the only one who can have ended it for this reason.
func onlySource(d decision) Party {
	switch d.family {
	case FamilyDisconnectReason:
		return sourceOfDisconnectReason(d.reason)
	case FamilyCallEndReason:
		switch name := d.reason.Name; {
		case d.reason.Code == 1002: // it is the caller's side that gives up, or the server's
			return PartyUnknown
		case d.reason.Known && strings.HasPrefix(name, "CALLER_"):
			return PartyCaller
		case d.reason.Known && strings.HasPrefix(name, "CALLEE_"):
			return PartyCallee
		case d.reason.Code == 1020 || d.reason.Code == 1021:
			return PartyCloud
		}
	case FamilyReleaseCode:
		if _, mapped := disconnectReasonsByReleaseCode[d.reason.Code]; mapped || d.reason.Known && isCloud(d.reason.Code) {
			return sourceOfDisconnectReason(DisconnectReason(DisconnectReasonOf(d.reason.Code)))
		}
	case FamilyTerminate:
		switch d.reason.Code {
		case 77:
			return PartyCaller
		case 17, 21:
			return PartyCallee
		}
	}
	return PartyUnknown
}

func isCloud(releaseCode int) bool { return releaseCode >= 200 && releaseCode <= 499 }

func sourceOfDisconnectReason(reason ReasonInfo) Party {
	switch reason.Source {
	case "caller":
		return PartyCaller
	case "callee":
		return PartyCallee
	case "participant":
		return PartyParticipant
	case cloud:
		return PartyCloud
	}
	return PartyUnknown
}
