package planet_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// What an app server does when the Notify callback comes: read it, and give the
// callee's devices what they need.
func ExampleParseNotify() {
	// r.URL.RawQuery in a handler. The sender did not percent-encode the '+'.
	rawQuery := "sid=151AD995-749C-4A28-893F-636700469DB1&type=V&from_service_id=my-service&from_user_id=alice" +
		"&to_service_id=my-service&to_user_id=bob&param=eyJj+SI6Ik0ifQ%3D%3D"

	values, err := planet.ParseQuery(rawQuery)
	if err != nil {
		fmt.Println("answer 400:", err)
		return
	}
	call, err := planet.ParseNotify(values)
	switch {
	case errors.Is(err, planet.ErrNoParameters):
		fmt.Println("answer 200, it is a dry run")
		return
	case err != nil:
		fmt.Println("answer 400:", err)
		return
	}
	fmt.Println("session:", call.SessionID)
	fmt.Println("from", call.Caller, "to", call.Callee)
	fmt.Println("printed:", call.CCParam)
	fmt.Println("for the device:", call.CCParam.Reveal())
	// Output:
	// session: 151ad995-749c-4a28-893f-636700469db1
	// from my-service/alice to my-service/bob
	// printed: <secret>
	// for the device: eyJj+SI6Ik0ifQ==
}

func ExampleParameterError() {
	values, err := planet.ParseQuery("sid=151ad995-749c-4a28-893f-636700469db1&to_service_id=my-service")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = planet.ParseNotify(values)
	var wrong *planet.ParameterError
	if errors.As(err, &wrong) {
		fmt.Println(wrong.Parameter)
	}
	fmt.Println(err)
	// Output:
	// to_user_id
	// parameter "to_user_id" of the Notify callback is missing; without it nobody can be rung
}

func ExampleCallEvent_Outcome() {
	values, err := planet.ParseQuery("sid=6364e8b3-bdac-436e-9631-0bce2498ce0c&duration=0&start_time=0" +
		"&terminate=18&rel_code_str=NO_ANSWER&disconnect_reason=1203")
	if err != nil {
		fmt.Println(err)
		return
	}
	event, err := planet.ParseCallEvent(values)
	if err != nil {
		fmt.Println(err)
		return
	}
	reason := planet.DisconnectReason(*event.Release.DisconnectReason)
	fmt.Println(event.Outcome())
	fmt.Printf("%s: %s\n", reason.Name, reason.Meaning)
	// Output:
	// missed
	// NOANSWER: nobody answered within 60 seconds
}

// Why a call ended, for people and for whoever runs the app server.
func ExampleRelease_Explain() {
	pushError := 1302
	why := planet.Release{DisconnectReason: &pushError}.Explain(planet.OneToOneCalls)
	fmt.Println(why.What(planet.English), why.Who(planet.English))
	fmt.Println(why.What(planet.Japanese), why.Who(planet.Japanese))
	fmt.Println("decided by", why.Family, why.Reason.Code, why.Reason.Name)
	fmt.Println("something to do:", why.Advice(planet.English) != "")
	// Output:
	// The app server could not be called, or answered Notify with a failure. It was ended by Planet Cloud.
	// Planet Cloudがアプリサーバーを呼び出せなかったか、Notifyに対してアプリサーバーがエラーを返しました。 終了させたのはPlanet Cloudです。
	// decided by disconnect_reason 1302 PUSH_ERROR
	// something to do: true
}

func ExampleParseGroupCallEvent() {
	values, err := planet.ParseQuery("sid=59db2167e13911ea83a8213945545d1c&svc_id=my-service&id=room-1" +
		"&user_svc_id=my-service&user_id=alice&sc=C&msc=C&online=2&mediaType=V&ts=1599463610820")
	if err != nil {
		fmt.Println(err)
		return
	}
	event, err := planet.ParseGroupCallEvent(values)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(event.Room.RoomID, "has", *event.Online, "participants since", event.Time.Format(time.RFC3339))
	// Output:
	// room-1 has 2 participants since 2020-09-07T07:26:50Z
}

func ExampleAccessTokenIssuer() {
	issuer := planet.AccessTokenIssuer{
		ServiceID: "my-service",
		APIKey:    "test-api-key",
		APISecret: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	}
	// The user ID is that of the signed-in user; the time would be time.Now().
	token, err := issuer.Issue("2048", time.Unix(1617636530, 0))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("printed:", token)
	fmt.Println("for the client:", token.Reveal()[:36], "...")
	// Output:
	// printed: <secret>
	// for the client: eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9 ...
}

func ExampleNotification() {
	notification := planet.Notification{
		CCParam:          "eyJjYWxsRmxvd1R5cGUiOiJNIn0=",
		Caller:           planet.UserRef{ServiceID: "my-service", UserID: "alice"},
		Callee:           planet.UserRef{ServiceID: "my-service", UserID: "bob"},
		Type:             planet.AudioCall,
		EnvironmentLabel: string(planet.Real),
		AppServerData:    "a long text that does not fit",
		SessionID:        "151ad995-749c-4a28-893f-636700469db1",
	}
	// An FCM message takes 4096 bytes of data; 220 show what happens beyond.
	fields, err := notification.Fit(220, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, kept := fields["app_app_svr_data"]
	fmt.Println(fields["cc_param"], fields["app_caller_uid"], fields["app_call_type"], fields["_env"])
	fmt.Println("app server data kept:", kept)
	// Output:
	// eyJjYWxsRmxvd1R5cGUiOiJNIn0= alice A real
	// app server data kept: false
}

func ExampleParseSessionID() {
	sid, err := planet.ParseSessionID("6364E8B3-BDAC-436E-9631-0BCE2498CE0C")
	fmt.Println(sid, err)
	_, err = planet.ParseSessionID("6364e8b3/bdac")
	fmt.Println(err)
	// Output:
	// 6364e8b3-bdac-436e-9631-0bce2498ce0c <nil>
	// the session ID has a forbidden character at byte 9; only letters, digits and hyphens are allowed
}
