package serverapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/planetbell/planetbell/planet"
	"github.com/planetbell/planetbell/planet/serverapi"
)

// pretend is a server in the place of LINE Planet's.
func pretend(answer http.HandlerFunc) (baseURL string, end func()) {
	s := httptest.NewServer(answer)
	return s.URL, s.Close
}

// Somebody misbehaves in a group call and has to leave.
func ExampleClient_KickOut() {
	url, end := pretend(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL)
	})
	defer end()

	client, err := serverapi.New(serverapi.Config{
		BaseURL:   url, // leave it out and give Environment: planet.Evaluation, or planet.Real
		ServiceID: "my-service", APIKey: "my-api-key", APISecret: "from a file",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err = client.KickOut(ctx, planet.RoomRef{RoomID: "room-1"}, []string{"mallory"}, "Spam")
	fmt.Println(err)
	// Output:
	// DELETE /tas/v1/gcall/my-service/room-1/member?user_id=mallory&reason=Spam
	// <nil>
}

// What went wrong is asked for by its kind.
func ExampleClient_Broadcast() {
	url, end := pretend(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	defer end()

	client, err := serverapi.New(serverapi.Config{BaseURL: url, ServiceID: "my-service", APIKey: "my-api-key", APISecret: "from a file"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	err = client.Broadcast(context.Background(), planet.RoomRef{RoomID: "room-1"}, []byte(`{"type":"end-in","minutes":5}`))
	if errors.Is(err, serverapi.ErrRoomNotFound) {
		fmt.Println("nobody is there to hear it")
	}
	fmt.Println(err)
	// Output:
	// nobody is there to hear it
	// broadcast: no call is running in the room (404 NOT_FOUND)
}

// A reminder is read to a user. The call's Notify comes to the app server as for any call.
func ExampleClient_MakeAgentCall() {
	url, end := pretend(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `{"status":"success","data":{"sid":"151AD995-749C-4A28-893F-636700469DB1"}}`)
	})
	defer end()

	client, err := serverapi.New(serverapi.Config{BaseURL: url, ServiceID: "my-service", APIKey: "my-api-key", APISecret: "from a file"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	sid, err := client.MakeAgentCall(context.Background(), serverapi.AgentCall{
		Caller: planet.UserRef{UserID: "reminder"}, Callee: planet.UserRef{UserID: "bob"},
		ContentIDs: []string{"uploaded-audio-1"}, PlayCount: 2, PlayWait: time.Second,
	})
	var failure *serverapi.Error
	if errors.As(err, &failure) && failure.MaybeExecuted {
		fmt.Println("bob may have been called; do not call again before the Agent Call Status is known")
	}
	fmt.Println(sid, err)
	// Output:
	// 151ad995-749c-4a28-893f-636700469db1 <nil>
}
