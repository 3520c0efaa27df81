package planet

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
)

// The numbers and names as LINE Planet's pages and headers list them, kept apart from
// the tables, so that a slip in one shows.
const (
	wantTerminate = `16 NORMAL_RELEASED, 17 BUSY, 77 CANCELED, 18 NO_ANSWER, 21 REJECTED, 127 OTHER`

	wantCallEnd = `1000 CALLER_CANCEL, 1001 CALLEE_BUSY, 1002 CALLEE_NO_ANSWER, 1003 CALLEE_REJECT, 1004 CALLER_END,
		1005 CALLEE_END, 1010 CALLER_NETWORK_ERROR, 1011 CALLEE_NETWORK_ERROR, 1012 CALLER_DEVICE_ERROR,
		1013 CALLEE_DEVICE_ERROR, 1014 CALLER_PHONECALL_EVT, 1015 CALLEE_PHONECALL_EVT, 1016 CALLER_SYSTEM_ERROR,
		1017 CALLEE_SYSTEM_ERROR, 1018 CALLER_AUTH_FAIL, 1019 CALLEE_AUTH_FAIL, 1020 PUSH_ERROR,
		1021 SERVER_INTERNAL_ERROR, 1022 CALLER_INTERNAL_ERROR, 1023 CALLEE_INTERNAL_ERROR, 1024 OTHER_DEV_IN_USE,
		1025 CALLER_PROTOCOL_ERROR, 1026 CALLEE_PROTOCOL_ERROR, 1100 UNKNOWN_ERROR`

	// B is both, 1 is 1-to-1, G is group.
	wantDisconnect = `1001 NORMAL B, 1002 DECLINE B, 1003 CELL_CALL B, 1109 INTERNAL_ERROR B, 1110 USER_ERROR B,
		1111 INTERNAL_KIT_ERROR B, 1112 AUDIO_TX_NO_SRC B, 1201 CANCEL 1, 1202 BUSY 1, 1203 NOANSWER 1,
		1204 ALREADY_GOT_A_CALL B, 1205 MULTIDEV_IN_USE B, 1206 MULTIDEV_ANSWER 1, 1207 MULTIDEV_DECLINE 1,
		1208 MAX_CALL_TIME_EXCEEDED B, 1301 NETWORK_UNSTABLE B, 1302 PUSH_ERROR 1, 1303 AUTH_ERROR B,
		1304 RELEASED_CALL B, 1305 SERVER_INTERNAL_ERROR B, 1308 UNAVAILABLE_NETWORK B, 1309 APP_DESTROY B,
		1310 SYSTEM_SLEEP B, 1311 SYSTEM_LOGOFF B, 1312 MTU_EXCEEDED B, 1313 APP_SERVER_DATA_ERROR B,
		1314 DESKTOP_SCREEN_LOCKED B, 1401 ROOM_IS_FULL G, 1402 ALONE_KICK_OUT G, 1404 ROOM_NOT_FOUND G,
		1405 ANOTHER_INSTANCE_TRY_TO_JOIN G, 1501 SERVICE_ACCESS_TOKEN_ERROR B, 1502 SERVICE_INVALID_ID B,
		1503 SERVICE_MAINTENANCE B, 1504 SERVICE_BUSY B, 1505 SERVICE_INTERNAL_ERROR B, 1506 SERVICE_HTTP_ERROR B,
		1507 SERVICE_HTTP_CONNECTION_TIME_OUT B, 1508 SERVICE_HTTP_INVALID_PEER_CERT B,
		1509 SERVICE_HTTP_CONNECT_FAIL B, 1510 SERVICE_HTTP_INVALID_URL B, 1511 SERVICE_INCOMPATIBLE_PLANETKIT_VER B,
		1512 SERVICE_TOO_MANY_REQUESTS B, 1601 RTC_ABORT B, 1602 RTC_NOT_ALLOWED B, 1603 RTC_NOT_FOUND B,
		1604 RTC_NOT_READABLE B, 1605 RTC_OVERCONSTRAINED B, 1606 RTC_SECURITY_ERROR B, 1607 RTC_TYPE_ERROR B,
		1608 NO_MEDIA_PACKET B, 1609 CALL_CONNECT_FAIL_BY_SERVER B, 1610 CALL_CONNECT_FAIL_BY_CLIENT B,
		1611 SIGNALING_UNEXPECTED_DISCONNECTED B, 1612 BROWSER_NOT_SUPPORTED B,
		1101 DEPRECATED_1101 B, 1102 DEPRECATED_1102 B, 1103 DEPRECATED_1103 B, 1104 DEPRECATED_1104 B,
		1105 DEPRECATED_1105 B, 1106 DEPRECATED_1106 B, 1107 DEPRECATED_1107 B, 1108 DEPRECATED_1108 B,
		1306 DEPRECATED_1306 B, 1307 DEPRECATED_1307 B, 1403 DEPRECATED_1403 B`

	wantReleaser = `0 UNDEFINED, 1 CALLEE, 2 CALLER, 3 PARTICIPANT, 4 CLOUD_SERVER, 5 APP_SERVER`

	// A choice from each range, with its ends.
	wantReleaseCode = `0 UNDEFINED, 1 NORMAL, 2 CANCEL, 3 REJECT, 4 USER_BUSY, 5 NO_ANSWER,
		6 MULTI_DEV_OTHER_DEV_IN_USE, 100 MANDATORY_INFO_MISSING, 122 MAX_CALL_TIME_EXCEED, 200 INTERNAL_ERROR,
		203 PUSH_REQ_FAIL, 205 PUSH_ERROR, 207 USER_NOT_FOUND_PUSH, 215 ALREADY_GOT_A_CALL, 231 INVALID_PUSH_RSP,
		236 SERVER_NO_RESPOND, 300 RELEASE_BY_GC, 400 ROOM_AUTH_ERROR, 418 ROOM_FORCE_CLOSE_BY_USER,
		452 ROOM_CHAN_NOT_FOUND, 500 NO_MEDIA_PACKETS, 515 CHAN_UNSUBS_FAIL_ACTIVE_AUDIO,
		519 CHAN_UNSUBS_FAIL_ACTIVE_DATA, 524 MTU_EXCEEDED, 600 WEB_CLIENT_ERROR_600, 609 WEB_CLIENT_ERROR_609,
		1000 UNKNOWN_ERROR`
)

func TestReasonTables(t *testing.T) {
	kinds := map[string]CallKind{"B": AllCalls, "1": OneToOneCalls, "G": GroupCalls}
	for _, family := range []struct {
		name   string
		want   string
		lookup func(int) ReasonInfo
		whole  int // entries that the table must have; 0 where want is a choice
	}{
		{"terminate", wantTerminate, TerminateReason, len(terminateReasons)},
		{"call_end_reason", wantCallEnd, CallEndReason, len(callEndReasons)},
		{"disconnect_reason", wantDisconnect, DisconnectReason, len(disconnectReasons)},
		{"releaser_type", wantReleaser, ReleaserType, len(releaserTypes)},
		{"rel_code", wantReleaseCode, ReleaseCode, 0},
	} {
		lines := strings.Split(family.want, ",")
		if family.whole != 0 && family.whole != len(lines) {
			t.Errorf("%s: the table has %d entries, %d are expected", family.name, family.whole, len(lines))
		}
		for _, line := range lines {
			words := strings.Fields(line)
			code, err := strconv.Atoi(words[0])
			if err != nil {
				t.Fatal(err)
			}
			got := family.lookup(code)
			if got.Code != code || got.Name != words[1] || !got.Known {
				t.Errorf("%s %d: got %+v, want %s", family.name, code, got, words[1])
			}
			if len(words) == 3 && (got.Where != kinds[words[2]] || got.Source == "") {
				t.Errorf("%s %d: got %q from %q", family.name, code, got.Where, got.Source)
			}
			if got.Meaning == "" || strings.HasSuffix(got.Meaning, ".") {
				t.Errorf("%s %d: meaning %q", family.name, code, got.Meaning)
			}
		}
	}
}

func TestUnknownReasons(t *testing.T) {
	for _, lookup := range []func(int) ReasonInfo{TerminateReason, CallEndReason, DisconnectReason, ReleaserType, ReleaseCode} {
		for _, code := range []int{-1, 9999, math.MaxInt32} {
			got := lookup(code)
			if got.Known || got.Code != code || got.Name != fmt.Sprintf("UNKNOWN_%d", code) || got.Meaning == "" {
				t.Errorf("got %+v", got)
			}
		}
	}
}

func TestReleaseCodeMeanings(t *testing.T) {
	for code, want := range map[int]string{
		2:   "the caller hung up before the answer",
		101: "the call's protocol broke",
		209: "something went wrong inside Planet Cloud",
		300: "something went wrong in the group call's room",
		403: "something went wrong in the group call's room",
		503: "something went wrong in the client",
		600: "something went wrong in the client",
	} {
		if got := ReleaseCode(code).Meaning; got != want {
			t.Errorf("%d: got %q, want %q", code, got, want)
		}
	}
	if len(releaseCodes) != 9+23+37+18+25+10+1 {
		t.Errorf("%d release codes", len(releaseCodes))
	}
	for code := range releaseCodeMeanings {
		if _, ok := releaseCodes[code]; !ok {
			t.Errorf("%d has a meaning and no name", code)
		}
	}
	for code, reason := range disconnectReasonsByReleaseCode {
		if _, ok := releaseCodes[code]; !ok {
			t.Errorf("%d is mapped and has no name", code)
		}
		if !DisconnectReason(reason).Known {
			t.Errorf("%d is mapped to %d, which has no name", code, reason)
		}
	}
}

func TestDisconnectReasonOf(t *testing.T) {
	for want, codes := range map[int][]int{
		1001: {1}, 1201: {2}, 1002: {3}, 1202: {4}, 1203: {5}, 1205: {6}, 1206: {7}, 1207: {8}, 1208: {122},
		1302: {203, 205, 207, 231}, 1303: {202, 400}, 1304: {210, 211}, 1204: {215}, 1301: {218, 219, 230, 501, 504},
		1401: {401}, 1404: {402}, 1402: {405}, 1608: {500}, 1112: {502}, 1003: {505}, 1309: {506, 507}, 1308: {512},
		1110: {514}, 1111: {521}, 1310: {522}, 1311: {523}, 1312: {524},
		1305: {200, 201, 204, 236, 299, 300, 399, 403, 452, 499},
		1109: {0, 9, 100, 101, 121, 123, 199, 503, 513, 520, 525, 600, 1000, 9999, -1},
	} {
		for _, code := range codes {
			if got := DisconnectReasonOf(code); got != want {
				t.Errorf("%d: got %d, want %d", code, got, want)
			}
		}
	}
}
