package storetest

import (
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

var webPushTests = map[string]func(*testing.T, Store){
	"a browser's subscription":                  browserKept,
	"a browser rings with its keys":             browserRings,
	"a browser's subscription moves":            browserMoves,
	"a browser rings two ways, and has it once": browserTwoWays,
	"a subscription that is given up is erased": browserForgotten,
}

// newBrowser is a device with a subscription of its own.
func newBrowser(user string, n int) bell.Device {
	d := newDevice(user, n)
	d.Channel, d.APNsServer, d.APNsServerGuessed = bell.WebPush, "", false
	d.PushToken = "https://push.example.com/" + d.PushToken
	d.PushKeys = planet.Secret(testlog.TextSecret("keys"))
	return d
}

func browserKept(t *testing.T, s Store) {
	d := newBrowser("bob", 1)
	add(t, s, d)
	deviceIs(t, s, d)
	d.PushKeys += "0"
	ok(t, "AmendDevice", s.AmendDevice(t.Context(), d.ID, func(bell.Device) (bell.Device, bool) { return d, true }))
	deviceIs(t, s, d)
}

func browserRings(t *testing.T, s Store) {
	d, c := newBrowser("bob", 1), newCall()
	add(t, s, d)
	_, err := s.BeginCall(t.Context(), c, []bell.Delivery{newDelivery(c, d)}, nil)
	ok(t, "BeginCall", err)
	rings := claim(t, s, delivery.Claim{Owner: "node-b", Now: noon.Add(10 * time.Second), LeaseUntil: noon.Add(20 * time.Second), Limit: 10})
	if len(rings) != 1 {
		t.Fatalf("%d rings", len(rings))
	}
	same(t, "the device to ring", rings[0].Device, d)
}

// A browser whose page is open has a delivery by push and one over its stream. A receipt is of that
// by which the call came, and what is still open of the other is over with it.
func browserTwoWays(t *testing.T, s Store) {
	d, c := newBrowser("bob", 1), newCall()
	add(t, s, d)
	push := newDelivery(c, d)
	page := newDelivery(c, d.Over(bell.LongPoll))
	page.ID, page.Channel, page.State = bell.NewID(), bell.LongPoll, bell.DeliveryPending
	_, err := s.BeginCall(t.Context(), c, []bell.Delivery{push, page}, nil)
	ok(t, "BeginCall", err)
	r := receiptOf(page)
	r.Channel = bell.LongPoll
	if got := receive(t, s, r); got.DeliveryID != page.ID || got.Repeated {
		t.Errorf("the receipt is of %+v, want the delivery over the stream", got)
	}
	record, err := s.Call(t.Context(), c.Environment, c.SessionID)
	ok(t, "Call", err)
	for _, got := range record.Deliveries {
		if got.Delivery.State != bell.DeliveryReceived || got.Delivery.LeaseOwner != "" {
			t.Errorf("by %s it is %s, leased by %q", got.Delivery.Channel, got.Delivery.State, got.Delivery.LeaseOwner)
		}
		if has := !got.Receipt.At.IsZero(); has != (got.Delivery.ID == page.ID) {
			t.Errorf("by %s it has a receipt: %v", got.Delivery.Channel, has)
		}
	}
	r.Channel = bell.WebPush // the push comes all the same
	if got := receive(t, s, r); got.DeliveryID != push.ID {
		t.Errorf("the second receipt is of %+v, want the push", got)
	}
}

// The endpoint alone says which browser it is, whatever keys come with it.
func browserMoves(t *testing.T, s Store) {
	first, second := newBrowser("bob", 1), newBrowser("eve", 2)
	second.PushToken, second.PushKeys = first.PushToken, first.PushKeys+"0"
	add(t, s, first)
	add(t, s, second)
	noDevice(t, s, first.ID)
	deviceIs(t, s, second)
}

func browserForgotten(t *testing.T, s Store) {
	d := newBrowser("bob", 1)
	add(t, s, d)
	d.PushToken, d.PushKeys, d.ForgottenAt, d.ForgottenFor = "", "", noon, "http_410"
	ok(t, "AmendDevice", s.AmendDevice(t.Context(), d.ID, func(bell.Device) (bell.Device, bool) { return d, true }))
	deviceIs(t, s, d)
}
