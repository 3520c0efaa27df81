package planet

import "strconv"

// ReasonInfo explains one number of LINE Planet's release reasons to people.
type ReasonInfo struct {
	Code    int
	Name    string // LINE Planet's own name; "UNKNOWN_<code>" for a number not in our tables
	Meaning string // plain English, one clause without a full stop
	Known   bool   // whether the number is in our tables

	japanese string // what In returns in Japanese

	// Of disconnect reasons only; empty for the other families.
	Where  CallKind
	Source string // who can be the one that ended it, such as "caller or callee"
}

// CallKind says in which calls a disconnect reason occurs.
type CallKind string

// The values of [CallKind].
const (
	OneToOneCalls CallKind = "1-to-1"
	GroupCalls    CallKind = "group"
	AllCalls      CallKind = "both"
)

// In returns the meaning in a language: one clause in English, which is Meaning, or one
// polite sentence in Japanese, both without a full stop. It is never empty for what the
// functions of this package return.
func (r ReasonInfo) In(l Language) string {
	if l == Japanese && r.japanese != "" {
		return r.japanese
	}
	return r.Meaning
}

// unknown explains a number that is not in the tables. LINE Planet's sets are open:
// a new number is no error.
func unknown(code int) ReasonInfo {
	return ReasonInfo{
		Code: code, Name: "UNKNOWN_" + strconv.Itoa(code),
		Meaning: "a number that this version does not know", japanese: "このバージョンでは説明できない番号です",
	}
}

func lookup(table map[int]ReasonInfo, japanese map[int]string, code int) ReasonInfo {
	info, ok := table[code]
	if !ok {
		return unknown(code)
	}
	info.Code, info.Known, info.japanese = code, true, japanese[code]
	return info
}

// TerminateReason explains "terminate", the Q.850 cause of a 1-to-1 call. Use it for
// statistics only: 16 comes also when nobody talked.
// Source: https://docs.lineplanet.me/server-api/server-api-release-reason
func TerminateReason(code int) ReasonInfo { return lookup(terminateReasons, terminateReasonsJA, code) }

// CallEndReason explains "call_end_reason", which the platform sent until 2021. Its
// numbers overlap those of [DisconnectReason] with other meanings.
func CallEndReason(code int) ReasonInfo { return lookup(callEndReasons, callEndReasonsJA, code) }

// DisconnectReason explains "disconnect_reason", the number to base decisions on.
// Source: https://docs.lineplanet.me/server-api/server-api-release-reason
func DisconnectReason(code int) ReasonInfo {
	return lookup(disconnectReasons, disconnectReasonsJA, code)
}

// ReleaserType explains "releaser_type": who ended a call or a participation.
func ReleaserType(code int) ReasonInfo { return lookup(releaserTypes, releaserTypesJA, code) }

// ReleaseCode explains "rel_code", LINE Planet's debugging number. Give it, with the
// session ID, to the LINE Planet team.
func ReleaseCode(code int) ReasonInfo {
	name, ok := releaseCodes[code]
	if !ok {
		return unknown(code)
	}
	return ReasonInfo{
		Code: code, Name: name, Known: true,
		Meaning: releaseCodeMeaning(code), japanese: releaseCodeMeaningJA(code),
	}
}

// releaseCodeMeaning returns what is known: LINE Planet publishes the names, and of
// most numbers no more than the part of the system they come from.
func releaseCodeMeaning(code int) string {
	if meaning, ok := releaseCodeMeanings[code]; ok {
		return meaning
	}
	switch {
	case code < 200:
		return "the call's protocol broke"
	case code < 300:
		return "something went wrong inside Planet Cloud"
	case code < 500:
		return "something went wrong in the group call's room"
	}
	return "something went wrong in the client"
}

// DisconnectReasonOf returns the disconnect reason that PlanetKit for Web derives
// from a "rel_code". Use it only when the callback lacks "disconnect_reason".
func DisconnectReasonOf(releaseCode int) int {
	if reason, ok := disconnectReasonsByReleaseCode[releaseCode]; ok {
		return reason
	}
	if releaseCode >= 200 && releaseCode <= 499 {
		return 1305
	}
	return 1109
}

var terminateReasons = map[int]ReasonInfo{
	16:  {Name: "NORMAL_RELEASED", Meaning: "ended normally; whether they talked is in the duration"},
	17:  {Name: "BUSY", Meaning: "the callee was in a call"},
	18:  {Name: "NO_ANSWER", Meaning: "nobody answered"},
	21:  {Name: "REJECTED", Meaning: "the callee refused"},
	77:  {Name: "CANCELED", Meaning: "the caller hung up before the answer"},
	127: {Name: "OTHER", Meaning: "ended in any other way"},
}

var releaserTypes = map[int]ReasonInfo{
	0: {Name: "UNDEFINED", Meaning: "it is not known who ended it"},
	1: {Name: "CALLEE", Meaning: "the callee of a 1-to-1 call"},
	2: {Name: "CALLER", Meaning: "the caller of a 1-to-1 call"},
	3: {Name: "PARTICIPANT", Meaning: "a participant of a group call"},
	4: {Name: "CLOUD_SERVER", Meaning: "Planet Cloud"},
	5: {Name: "APP_SERVER", Meaning: "the app server, in a group call"},
}

var callEndReasons = map[int]ReasonInfo{
	1000: {Name: "CALLER_CANCEL", Meaning: "the caller hung up before the answer"},
	1001: {Name: "CALLEE_BUSY", Meaning: "the callee was in a call"},
	1002: {Name: "CALLEE_NO_ANSWER", Meaning: "the callee did not answer"},
	1003: {Name: "CALLEE_REJECT", Meaning: "the callee refused"},
	1004: {Name: "CALLER_END", Meaning: "the caller hung up"},
	1005: {Name: "CALLEE_END", Meaning: "the callee hung up"},
	1010: {Name: "CALLER_NETWORK_ERROR", Meaning: "the caller's network failed"},
	1011: {Name: "CALLEE_NETWORK_ERROR", Meaning: "the callee's network failed"},
	1012: {Name: "CALLER_DEVICE_ERROR", Meaning: "the caller's device failed"},
	1013: {Name: "CALLEE_DEVICE_ERROR", Meaning: "the callee's device failed"},
	1014: {Name: "CALLER_PHONECALL_EVT", Meaning: "a cellular call came in for the caller"},
	1015: {Name: "CALLEE_PHONECALL_EVT", Meaning: "a cellular call came in for the callee"},
	1016: {Name: "CALLER_SYSTEM_ERROR", Meaning: "the caller's system failed"},
	1017: {Name: "CALLEE_SYSTEM_ERROR", Meaning: "the callee's system failed"},
	1018: {Name: "CALLER_AUTH_FAIL", Meaning: "the caller was not authenticated"},
	1019: {Name: "CALLEE_AUTH_FAIL", Meaning: "the callee was not authenticated"},
	1020: {Name: "PUSH_ERROR", Meaning: "the app server could not be called, or answered Notify with a failure"},
	1021: {Name: "SERVER_INTERNAL_ERROR", Meaning: "something went wrong inside Planet Cloud"},
	1022: {Name: "CALLER_INTERNAL_ERROR", Meaning: "something went wrong in the caller's client"},
	1023: {Name: "CALLEE_INTERNAL_ERROR", Meaning: "something went wrong in the callee's client"},
	1024: {Name: "OTHER_DEV_IN_USE", Meaning: "the user was in a call on another device"},
	1025: {Name: "CALLER_PROTOCOL_ERROR", Meaning: "the call's protocol broke at the caller"},
	1026: {Name: "CALLEE_PROTOCOL_ERROR", Meaning: "the call's protocol broke at the callee"},
	1100: {Name: "UNKNOWN_ERROR", Meaning: "an error that has no number of its own"},
}
