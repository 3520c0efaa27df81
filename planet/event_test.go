package planet

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/testlog"
)

const (
	callSID  = "6364e8b3-bdac-436e-9631-0bce2498ce0c"
	groupSID = "59db2167e13911ea83a8213945545d1c"
)

// The example requests of LINE Planet's pages (2020 edition).
const (
	docsCallEvent = "sid=" + callSID + "&from_service_id=voip.next&from_user_id=9286&to_service_id=voip.next&to_user_id=2809" +
		"&type=V&setup_time=1582527420&start_time=0&end_time=1582527434&duration=0&terminate=16&srcip=1.2.3.4&dstip=1.2.3.5" +
		"&stid=voip.next&call_end_reason=1005&releaser=responder&rel_code=1&rel_code_str=NORMAL"
	docsGroupEvent = "sid=" + groupSID + "&svc_id=planetkit-inhouse&id=1111&user_svc_id=planetkit-inhouse&user_id=9286" +
		"&host_svc_id=planetkit-inhouse&host_id=2809&sc=C&setup_time=1597744702514&start_time=1597744703058&end_time=0" +
		"&online=2&mediaType=V&msc=C&stid=application-data&ts=1599463610820"
)

func TestParseCallEventOfTheDocs(t *testing.T) {
	got, err := ParseCallEvent(query(t, docsCallEvent))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Raw) != 18 {
		t.Errorf("%d raw parameters", len(got.Raw))
	}
	got.Raw = nil
	want := CallEvent{
		SessionID:     callSID,
		Caller:        UserRef{"voip.next", "9286"},
		Callee:        UserRef{"voip.next", "2809"},
		Type:          VideoCall,
		SetupTime:     time.Date(2020, 2, 24, 6, 57, 0, 0, time.UTC),
		EndTime:       time.Date(2020, 2, 24, 6, 57, 14, 0, time.UTC),
		CallerAddress: "1.2.3.4",
		CalleeAddress: "1.2.3.5",
		Release: Release{
			Terminate: new(16), CallEndReason: new(1005), Releaser: "responder", Code: new(1), CodeName: "NORMAL",
		},
		AppServerData: "voip.next",
		STID:          "voip.next",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseCallEventOfToday(t *testing.T) {
	got, err := ParseCallEvent(url.Values{
		"sid":  {strings.ToUpper(callSID)},
		"type": {"a"}, "setup_time": {"1770000000123"}, "start_time": {"1770000005"}, "end_time": {"1770000035500"},
		"duration": {"30"}, "billing_sec": {"31"}, "disconnect_reason": {"1001"}, "releaser_type": {"2"},
		"user_rel_code": {"bye"}, "app_svr_data": {"y"}, "stid": {"x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got.Raw = nil
	want := CallEvent{
		SessionID:      callSID,
		Type:           AudioCall,
		SetupTime:      time.UnixMilli(1770000000123).UTC(),
		StartTime:      time.Unix(1770000005, 0).UTC(),
		EndTime:        time.UnixMilli(1770000035500).UTC(),
		Duration:       30 * time.Second,
		BillingSeconds: new(int64(31)),
		Release:        Release{DisconnectReason: new(1001), ReleaserType: new(2), UserCode: "bye"},
		AppServerData:  "y",
		STID:           "x",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A busy callee leads to a Call Event without a Notify, and a test button to one with
// next to nothing: all that makes an event is its session ID.
func TestParseCallEventWithSessionIDOnly(t *testing.T) {
	got, err := ParseCallEvent(url.Values{"sid": {callSID}})
	if err != nil {
		t.Fatal(err)
	}
	want := CallEvent{SessionID: callSID, Raw: []RawParam{{"sid", callSID}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEventsSurviveNonsense(t *testing.T) {
	nonsense := strings.Repeat("\x00\xff<script>\x1b[31m", 2000)
	names := []string{
		"from_service_id", "from_user_id", "to_service_id", "to_user_id", "type", "stid", "setup_time", "start_time",
		"end_time", "duration", "srcip", "dstip", "terminate", "rel_code", "rel_code_str", "user_rel_code", "billing_sec",
		"disconnect_reason", "releaser_type", "app_svr_data", "call_end_reason", "releaser", "svc_id", "id", "user_svc_id",
		"user_id", "host_svc_id", "host_id", "sc", "online", "media_type", "mediaType", "msc", "ts", "ue_type",
		"display_name", "client_address", "rc_idc", "agent_type", "media_source_type", "result", "fail_reason",
	}
	values := url.Values{"sid": {callSID}}
	for _, name := range names {
		values.Set(name, nonsense)
	}
	call, err := ParseCallEvent(values)
	if err != nil {
		t.Fatal(err)
	}
	group, err := ParseGroupCallEvent(values)
	if err != nil {
		t.Fatal(err)
	}
	status, err := ParseAgentCallStatus(values)
	if err != nil {
		t.Fatal(err)
	}
	for name, length := range map[string]int{
		call.AppServerData: 4096, call.Release.UserCode: 512, call.CallerAddress: 64, call.Release.CodeName: 64,
		group.DisplayName: 256, group.UEType: 64, string(group.Status): 64, status.FailReason: 256, status.AgentType: 64,
	} {
		if len(name) > length {
			t.Errorf("a text of at most %d bytes has %d", length, len(name))
		}
	}
	if call.Caller != (UserRef{}) || call.Type != "" || call.Duration != 0 || call.Release.Terminate != nil {
		t.Errorf("nonsense became a value: %+v", call.Caller)
	}
	if group.Room != (RoomRef{}) || group.Online != nil || !group.Time.IsZero() || status.Success {
		t.Error("nonsense became a value")
	}
	if call.Outcome() != OutcomeFailed {
		t.Errorf("outcome %q", call.Outcome())
	}
}

func TestEventsRefuse(t *testing.T) {
	for _, c := range []struct {
		callback string
		values   url.Values
		problem  string
	}{
		{"Call Event", url.Values{"terminate": {"16"}}, `parameter "sid" of the Call Event callback is missing`},
		{"Call Event", url.Values{"sid": {"a b"}}, "is wrong"},
		{"Group Call Event", url.Values{"sc": {"S"}}, `parameter "sid" of the Group Call Event callback is missing`},
		{"Group Call Event", url.Values{"svc_id": {"s"}, "id": {""}}, "is missing"},
		{"Group Call Event", url.Values{"sid": {"?"}, "id": {"room"}}, "is wrong"},
		{"Agent Call Status", url.Values{"result": {"SUCCESS"}}, `parameter "sid" of the Agent Call Status callback is missing`},
	} {
		err := parsers()[c.callback](c.values)
		wantParameterError(t, err, c.problem)
		testlog.Keep(t, "error", err.Error())
	}
}

func TestParseGroupCallEventOfTheDocs(t *testing.T) {
	got, err := ParseGroupCallEvent(query(t, docsGroupEvent))
	if err != nil {
		t.Fatal(err)
	}
	got.Raw = nil
	want := GroupCallEvent{
		SessionID:         groupSID,
		Room:              RoomRef{"planetkit-inhouse", "1111"},
		Participant:       UserRef{"planetkit-inhouse", "9286"},
		Host:              UserRef{"planetkit-inhouse", "2809"},
		Status:            RoomChanged,
		ParticipantStatus: ParticipantConnected,
		SetupTime:         time.UnixMilli(1597744702514).UTC(),
		StartTime:         time.UnixMilli(1597744703058).UTC(),
		Time:              time.UnixMilli(1599463610820).UTC(),
		Online:            new(2),
		MediaType:         VideoCall,
		AppServerData:     "application-data",
		STID:              "application-data",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseGroupCallEventLeaving(t *testing.T) {
	values := query(t, docsGroupEvent+"&media_type=A&rel_code=1&rel_code_str=NORMAL&ue_type=IOS&display_name=%E3%82%A2"+
		"&client_address=2001:db8::1&rc_idc=jp1&disconnect_reason=1110&releaser_type=5&user_rel_code=Kicked&billing_sec=61")
	values.Set("msc", "t")
	values.Set("sc", "e")
	values.Set("online", "0")
	values.Set("end_time", "1599463610")
	got, err := ParseGroupCallEvent(values)
	if err != nil {
		t.Fatal(err)
	}
	if got.Status != RoomEnded || got.ParticipantStatus != ParticipantTimedOut || *got.Online != 0 {
		t.Errorf("status %q, %q, online %v", got.Status, got.ParticipantStatus, *got.Online)
	}
	if !got.EndTime.Equal(time.Unix(1599463610, 0)) || *got.BillingSeconds != 61 {
		t.Errorf("end %v, billing %d", got.EndTime, *got.BillingSeconds)
	}
	if got.MediaType != AudioCall {
		t.Errorf("media type %q; the name of the table goes before that of the example", got.MediaType)
	}
	texts := []string{got.UEType, got.DisplayName, got.ClientAddress, got.DataCenter, got.Release.UserCode}
	if diff := cmp.Diff([]string{"IOS", "ア", "2001:db8::1", "jp1", "Kicked"}, texts); diff != "" {
		t.Error(diff)
	}
	release := Release{
		DisconnectReason: new(1110), ReleaserType: new(5), Code: new(1), CodeName: "NORMAL", UserCode: "Kicked",
	}
	if diff := cmp.Diff(release, got.Release); diff != "" {
		t.Error(diff)
	}
}

func TestParseGroupCallEventAccepts(t *testing.T) {
	for _, c := range []struct {
		name   string
		values url.Values
		want   GroupCallEvent
	}{
		{
			"start without a participant",
			url.Values{"sid": {groupSID}, "svc_id": {"s"}, "id": {"room"}, "sc": {"S"}},
			GroupCallEvent{SessionID: groupSID, Room: RoomRef{"s", "room"}, Status: RoomStarted},
		},
		{
			"room without a session ID",
			url.Values{"svc_id": {"s"}, "id": {"room"}, "sc": {"C"}, "msc": {"M"}},
			GroupCallEvent{Room: RoomRef{"s", "room"}, Status: RoomChanged, ParticipantStatus: ParticipantMediaChanged},
		},
		{
			"room with a wrong session ID",
			url.Values{"sid": {"?"}, "svc_id": {"s"}, "id": {"room"}},
			GroupCallEvent{Room: RoomRef{"s", "room"}},
		},
		{
			"session ID only, with an unknown status",
			url.Values{"sid": {strings.ToUpper(groupSID)}, "sc": {"X"}, "msc": {"D"}},
			GroupCallEvent{SessionID: groupSID, Status: "X", ParticipantStatus: ParticipantDisconnected},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseGroupCallEvent(c.values)
			if err != nil {
				t.Fatal(err)
			}
			got.Raw = nil
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseAgentCallStatus(t *testing.T) {
	for _, c := range []struct {
		name, result, reason string
		success              bool
		want                 string
	}{
		{"as in the table", "SUCCESS", "None", true, ""},
		{"as in the example", "Success", "None", true, ""},
		{"success without reason", "success", "", true, ""},
		{"failure", "FAIL", "Invalid peerId", false, "Invalid peerId"},
		{"failure without reason", "Fail", "none", false, ""},
		{"no result", "", "Invalid peerId", false, "Invalid peerId"},
		{"unknown result", "MAYBE", "", false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseAgentCallStatus(url.Values{
				"sid": {callSID}, "agent_type": {"AUDIO_CALLER"}, "media_source_type": {"STORED_SOURCE"},
				"result": {c.result}, "fail_reason": {c.reason},
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Raw) != 5 {
				t.Errorf("raw is %v", got.Raw)
			}
			got.Raw = nil
			want := AgentCallStatus{
				SessionID: callSID, AgentType: "AUDIO_CALLER", MediaSourceType: "STORED_SOURCE",
				Success: c.success, FailReason: c.want,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The same callback by GET, as a form and as JSON must be the same event.
func TestBodiesGiveTheSameEvent(t *testing.T) {
	want, err := ParseGroupCallEvent(query(t, docsGroupEvent))
	if err != nil {
		t.Fatal(err)
	}
	object := `{"sid":"` + groupSID + `","svc_id":"planetkit-inhouse","id":1111,"user_svc_id":"planetkit-inhouse",
		"user_id":9286,"host_svc_id":"planetkit-inhouse","host_id":"2809","sc":"C","setup_time":1597744702514,
		"start_time":1597744703058,"end_time":0,"online":2,"mediaType":"V","msc":"C","stid":"application-data",
		"ts":1599463610820,"user_rel_code":null}`
	for contentType, body := range map[string]string{
		"application/x-www-form-urlencoded": docsGroupEvent, "application/json": object,
	} {
		values, err := ParseBody(contentType, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseGroupCallEvent(values)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", contentType, diff)
		}
	}
}

func TestGroupCallEventDedupKey(t *testing.T) {
	const base = docsGroupEvent
	key := func(raw string) string {
		e, err := ParseGroupCallEvent(query(t, raw))
		if err != nil {
			t.Fatal(err)
		}
		return e.DedupKey()
	}
	want := "group-call-event/1599463610820/" + groupSID + "/planetkit-inhouse/9286/C/C"
	for name, same := range map[string]string{
		"itself":            base,
		"capitals":          strings.Replace(base, groupSID, strings.ToUpper(groupSID), 1),
		"another parameter": base + "&rc_idc=jp1&online=3",
	} {
		if got := key(same); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	seen := map[string]string{want: "itself"}
	for _, change := range [][2]string{
		{groupSID, "0" + groupSID[1:]},
		{"user_svc_id=planetkit-inhouse", "user_svc_id=other"},
		{"user_id=9286", "user_id=9287"},
		{"user_id=9286", "user_id=9286%2FC"},
		{"user_id=9286&", ""},
		{"&sc=C", "&sc=E"},
		{"&msc=C", "&msc=D"},
		{"ts=1599463610820", "ts=1599463610821"},
		{"&ts=1599463610820", ""},
		{"&ts=1599463610820", "&extra=1"},
		{"sid=" + groupSID + "&", ""},
		{"sid=" + groupSID + "&svc_id=planetkit-inhouse&id=1111", "svc_id=planetkit&id=inhouse:1111"},
	} {
		got := key(strings.Replace(base, change[0], change[1], 1))
		if other, ok := seen[got]; ok {
			t.Errorf("%v has the key of %s: %q", change, other, got)
		}
		seen[got] = change[1]
	}
}

func TestDedupKeysOfKindsDiffer(t *testing.T) {
	values := url.Values{"sid": {callSID}, "result": {"SUCCESS"}}
	call, err := ParseCallEvent(values)
	if err != nil {
		t.Fatal(err)
	}
	group, err := ParseGroupCallEvent(values)
	if err != nil {
		t.Fatal(err)
	}
	status, err := ParseAgentCallStatus(values)
	if err != nil {
		t.Fatal(err)
	}
	failed := status
	failed.Success = false
	keys := map[string]bool{
		call.DedupKey(): true, group.DedupKey(): true, status.DedupKey(): true, failed.DedupKey(): true,
		NotifyCallback{SessionID: callSID}.DedupKey(): true,
	}
	if len(keys) != 5 {
		t.Errorf("keys are shared: %v", keys)
	}
	if want := "call-event/" + callSID; call.DedupKey() != want {
		t.Errorf("got %q, want %q", call.DedupKey(), want)
	}
}
