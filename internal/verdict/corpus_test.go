package verdict

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// The corpus: records as they are, and what has to be said of them.
var corpus = []struct {
	name  string
	in    Input
	code  Code
	rang  bool
	words []string // in the English sentence
}{
	// It rang.
	{"a push was taken, and nobody answered", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 2))), "unanswered", true, []string{"IOS", "12 ms", "nobody answered"}},
	{"a receipt came", a(to("d1", bell.FCM, bell.DeliveryReceived, "", took(1, 2)), receipt(300)), "unanswered", true, []string{"ANDROID", "nobody answered"}},
	{"a poll took it", a(to("d1", bell.LongPoll, bell.DeliveryAccepted, "", polled(1, 5))), "unanswered", true, []string{"DESKTOPWIN", "15 ms"}},
	{"one of two rang", a(refused(bell.FCM, 404, "UNREGISTERED"), to("d2", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 2))), "unanswered", true, []string{"IOS"}},
	{"answered", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 2)), ended(1001, planet.OutcomeCompleted, 90_000), func(in *Input) { in.Call.Duration = 65 * time.Second }), "answered", true, []string{"bob answered", "1 min 5 s"}},
	{"declined", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 2)), ended(1002, planet.OutcomeDeclined, 8000)), "declined", true, []string{"declined", "8 s"}},
	{"answered on another device", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 2)), failed(1206, 0)), "answered_elsewhere", true, []string{"another device"}},
	{"declined on another device, by rel_code", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 2)), failed(0, 8), func(in *Input) { in.Call.Release.DisconnectReason = nil }), "declined_elsewhere", true, []string{"declined on another device"}},
	{"hung up at once", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 200)), canceled(1200)), "canceled_quickly", true, []string{"alice hung up 1.2 s after Notify", "210 ms", "990 ms"}},
	{"hung up later", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 2)), canceled(20_000)), "canceled", true, []string{"alice hung up after 20 s"}},
	{"hung up in the second in which it rang, and the callbacks are not kept any more", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 1800)), canceled(1990), endedAt(1000), withoutJournal), "canceled_quickly", true, []string{"alice hung up", "1.8 s"}},
	{"hung up before the push was taken, and the callbacks are not kept any more", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 1800)), to("d2", bell.FCM, bell.DeliveryWithdrawn, "cancelled"), markedAt(1200), canceled(1200), endedAt(1000), withoutJournal), "accepted_late_at_first", false, []string{"610 ms after the call was over"}},
	{"the network broke while it rang", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 2)), ended(1301, planet.OutcomeFailed, 9000)), "rang", true, []string{"12 ms", "1301"}},
	{"it rings", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 2)), open(bell.CallRinging, 3000)), "ringing", true, []string{"ringing now"}},
	{"lost", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 2)), open(bell.CallLost, 90_000_000)), "lost", true, []string{"Call Event has not come"}},
	{"no Call Event yet", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 2)), open(bell.CallRinging, 600_000)), "no_call_event_yet", true, []string{"12 ms", "may be talking"}},
	{"hung up before the receipt", a(to("d1", bell.FCM, bell.DeliveryReceived, "", took(1, 190)), receipt(1500), canceled(1200)), "canceled_quickly", true, []string{"hung up 1.2 s after Notify", "200 ms"}},
	{"busy on the device", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 2)), ended(1202, planet.OutcomeBusy, 2000)), "busy_on_device", true, []string{"12 ms", "as busy", "The callee was in a call", "1202"}},
	{"busy on another device, though one was told", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 2)), ended(1205, planet.OutcomeBusy, 500)), "busy_on_device", true, []string{"12 ms", "as busy", "in a call on another device", "1205"}},
	{"another call came first, and a device was told", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 2)), ended(1204, planet.OutcomeBusy, 500)), "busy_on_device", true, []string{"12 ms", "as busy", "nother call was already coming in", "1204"}},
	{"old edition and rel_code", a(unnotified, failed(0, 203), func(in *Input) {
		in.Call.Release = planet.Release{CallEndReason: number(1018), Code: number(203)}
	}), "auth_error", false, []string{"1018"}},
	{"from memory", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 2)), fromMemory), "rang_from_memory", true, []string{"memory", "database"}},

	// Planet Cloud did not ask, or asked too late.
	{"busy, and no Notify", a(unnotified, ended(1202, planet.OutcomeBusy, 500)), "busy", false, []string{"bob was in a call already", "1202"}},
	{"another call came first", a(unnotified, ended(1204, planet.OutcomeBusy, 500)), "another_call_came_first", false, []string{"coming in", "1204"}},
	{"in a call on another device", a(to("d1", bell.APNsVoIP, bell.DeliveryWithdrawn, ""), ended(1205, planet.OutcomeBusy, 500)), "busy", false, []string{"1205"}},
	{"busy by terminate", a(unnotified, ended(0, planet.OutcomeBusy, 500), func(in *Input) { in.Call.Release = planet.Release{Terminate: number(17)} }), "busy", false, []string{"terminate 17"}},
	{"no Notify, only its end", a(unnotified), "never_asked", false, []string{"never asked", "no Notify"}},
	{"no Notify, and canceled", a(unnotified, canceled(900)), "canceled_before_notify", false, []string{"alice hung up before"}},
	{"Notify after the Call Event", a(canceled(-700), overtaken), "notify_after_end", false, []string{"came 700 ms before Notify", "over by then"}},
	{"a Call Event that overtook Notify", a(canceled(300), overtaken), "notify_after_end", false, []string{"came 300 ms after Notify", "over by then"}},
	{"a Call Event that overtook Notify, with a push error", a(failed(1302, 203), overtaken), "callback_answer_lost", false, []string{"too late", "203"}},
	{"a Call Event of a node whose clock is behind", a(canceled(-700)), "no_device", false, []string{"bob had no device"}},
	{"Notify after the end by Planet Cloud's clock", a(canceled(500), endedAt(-9000)), "notify_late", false, []string{"9 s"}},
	{"our clock is ahead, and it rang", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 2)), canceled(1200), endedAt(-3000)), "canceled_quickly", true, []string{"1.2 s", "12 ms"}},
	{"our clock is ahead, and nothing rang", a(refused(bell.FCM, 404, "UNREGISTERED"), canceled(5000), endedAt(-3000)), "unregistered", false, []string{"no longer on bob's ANDROID device"}},
	{"our clock is ahead, and the callbacks are not kept any more", a(to("d1", bell.APNsVoIP, bell.DeliveryWithdrawn, ""), markedAt(5000), endedAt(-3000), withoutJournal), "withdrawn", false, []string{"5 s after Notify"}},
	{"push error, unreachable", a(unnotified, failed(1302, 203)), "callback_unreachable", false, []string{"could not reach", "203"}},
	{"push error, failed", a(unnotified, failed(1302, 205)), "callback_failed", false, []string{"callback failed", "205"}},
	{"push error of the old edition", a(unnotified, failed(0, 0), func(in *Input) { in.Call.Release = planet.Release{CallEndReason: number(1020)} }), "callback_failed", false, []string{"1020"}},
	{"push error, user not found", a(unnotified, failed(1302, 207)), "callback_user_not_found", false, []string{"bob is not known", "207"}},
	{"push error, answer not understood", a(unnotified, failed(1302, 231)), "callback_misunderstood", false, []string{"did not understand", "231"}},
	{"push error, rel_code only", a(unnotified, failed(0, 231), func(in *Input) { in.Call.Release.DisconnectReason = nil }), "callback_misunderstood", false, []string{"231"}},
	{"push error though Notify came", a(to("d1", bell.APNsVoIP, bell.DeliveryWithdrawn, ""), failed(1302, 203)), "callback_answer_lost", false, []string{"counted it as failed"}},
	{"push error, and no device", a(failed(1302, 207)), "refused_no_device", false, []string{"no device that could ring", "error"}},
	{"push error, no device, and no refusal", a(failed(1302, 203)), "push_error_no_device", false, []string{"no device that could ring", "late or lost", "203"}},
	{"app server data", a(unnotified, failed(1313, 0)), "app_server_data_error", false, []string{"app server data", "1313"}},
	{"access token", a(unnotified, failed(1501, 0)), "access_token_refused", false, []string{"alice's access token", "1501"}},
	{"auth error", a(unnotified, failed(1303, 202)), "auth_error", false, []string{"authenticate", "1303"}},
	{"invalid ID", a(unnotified, failed(1502, 0)), "invalid_id", false, []string{"IDs"}},
	{"maintenance", a(unnotified, failed(1503, 0)), "cloud_maintenance", false, []string{"maintenance"}},
	{"the cloud is busy", a(unnotified, failed(1504, 0)), "cloud_busy", false, []string{"too busy"}},
	{"internal", a(unnotified, failed(1305, 209)), "cloud_internal", false, []string{"error of its own", "1305"}},
	{"old PlanetKit", a(unnotified, failed(1511, 0)), "incompatible_version", false, []string{"too old"}},
	{"too many requests", a(unnotified, failed(1512, 0)), "too_many_requests", false, []string{"too many attempts"}},
	{"longest call time", a(unnotified, failed(1208, 0)), "max_call_time", false, []string{"longest call time"}},
	{"released", a(unnotified, failed(1304, 0)), "released_call", false, []string{"over already"}},
	{"a client's network", a(unnotified, failed(1301, 0)), "client_network", false, []string{"network"}},
	{"a client that ended", a(unnotified, failed(1309, 0)), "client_gone", false, []string{"stopped"}},
	{"a cellular call", a(unnotified, failed(1003, 0)), "cellular_call", false, []string{"cellular"}},
	{"a client's error", a(unnotified, failed(1112, 0)), "client_error", false, []string{"1112"}},
	{"an agent call that failed", a(unnotified, open("", 5000), func(in *Input) {
		in.Agent = bell.AgentStatus{ReceivedAt: noon, FailReason: "NO_SOURCE"}
	}), "agent_failed", false, []string{"NO_SOURCE"}},
	{"an agent call without Notify", a(unnotified, open("", 5000), func(in *Input) { in.Agent = bell.AgentStatus{ReceivedAt: noon, Success: true} }), "agent_without_notify", false, []string{"Notify never came"}},
	{"a notice", a(func(in *Input) { in.Call.State, in.Call.Purpose = bell.CallNotice, bell.PurposeMissedCall }), "notice", false, []string{"notice"}},

	// Nothing was to ring.
	{"blocked", a(suppressed(bell.SuppressBlocked)), "blocked", false, []string{"bob blocks alice"}},
	{"do not disturb", a(suppressed(bell.SuppressDoNotDisturb)), "do_not_disturb", false, []string{"do not disturb"}},
	{"the hook", a(suppressed(bell.SuppressPolicy)), "refused_by_policy", false, []string{"policy hook", "demo"}},
	{"no device", a(), "no_device", false, []string{"bob had no device"}},
	{"no channel", a(left(bell.DeviceNote{DeviceID: "d1", Why: bell.NoteNoChannel})), "never_said_how", false, []string{"never said"}},
	{"signed out", a(left(why("d1", bell.NoteExpired, ""))), "sign_in_expired", false, []string{"sign-in", "2026-09-01 11:00:00"}},
	{"forgotten", a(left(why("d1", bell.NoteForgotten, "Unregistered"))), "forgotten", false, []string{"removed", "Unregistered", "2026-09-01 11:00:00"}},
	{"two forgotten", a(left(why("d1", bell.NoteForgotten, "Unregistered"), why("d2", bell.NoteForgotten, "Unregistered"))), "forgotten", false, []string{"None of bob's 2 devices"}},
	{"for different reasons", a(left(why("d1", bell.NoteForgotten, "Unregistered"), why("d2", bell.NoteExpired, ""))), "no_reachable_device", false, []string{"different reasons"}},

	// Our own settings, and credentials.
	{"no APNs credential", a(to("d1", bell.APNsVoIP, bell.DeliveryFailed, "no_apns_credential")), "no_credential", false, []string{"no credential of APNs", "IOS"}},
	{"no credential for sandbox", a(to("d1", bell.APNsVoIP, bell.DeliveryFailed, "no_apns_voip_credential_for_sandbox")), "no_credential", false, []string{"sandbox"}},
	{"no FCM credential", a(to("d1", bell.FCM, bell.DeliveryFailed, "no_fcm_credential")), "no_credential", false, []string{"FCM"}},
	{"no web push key", a(to("d1", bell.WebPush, bell.DeliveryFailed, "no_vapid_key")), "no_credential", false, []string{"web push", "browser"}},
	{"project gone", a(to("d1", bell.FCM, bell.DeliveryFailed, "project_not_configured")), "project_not_configured", false, []string{"not in the configuration"}},
	{"InvalidProviderToken", a(refused(bell.APNsVoIP, 403, "InvalidProviderToken")), "apns_key_refused", false, []string{"refused our credential", "InvalidProviderToken"}},
	{"ExpiredProviderToken", a(refused(bell.APNsVoIP, 403, "ExpiredProviderToken")), "apns_token_expired", false, []string{"clock"}},
	{"the other environment's key", a(refused(bell.APNsVoIP, 403, "BadEnvironmentKeyIdInToken")), "apns_key_other_environment", false, []string{"other environment"}},
	{"BadCertificate", a(refused(bell.APNsVoIP, 403, "BadCertificate")), "certificate_refused", false, []string{"certificate", "expired"}},
	{"invalid_grant", a(to("d1", bell.FCM, bell.DeliveryFailed, "oauth_invalid_grant", try(1, 2, bell.Rejected, 0, "oauth_invalid_grant"))), "google_key_revoked", false, []string{"service account"}},
	{"UNAUTHENTICATED twice", a(to("d1", bell.FCM, bell.DeliveryFailed, "UNAUTHENTICATED", try(1, 2, bell.RetryCredential, 401, "UNAUTHENTICATED"), try(2, 50, bell.RetryCredential, 401, "UNAUTHENTICATED"))), "google_token_refused", false, []string{"access token"}},
	{"PERMISSION_DENIED", a(refused(bell.FCM, 403, "PERMISSION_DENIED")), "google_permission_denied", false, []string{"may not send"}},
	{"NOT_FOUND", a(refused(bell.FCM, 404, "NOT_FOUND")), "google_project_unknown", false, []string{"does not know the project"}},
	{"THIRD_PARTY_AUTH_ERROR", a(refused(bell.FCM, 401, "THIRD_PARTY_AUTH_ERROR")), "third_party_credential", false, []string{"Firebase"}},
	{"VapidPkHashMismatch", a(refused(bell.WebPush, 403, "VapidPkHashMismatch")), "vapid_key_changed", false, []string{"another VAPID key"}},
	{"BadJwtToken", a(refused(bell.WebPush, 403, "BadJwtToken")), "vapid_refused", false, []string{"VAPID signature"}},
	{"wrong topic", a(refused(bell.APNsVoIP, 400, "DeviceTokenNotForTopic")), "wrong_topic", false, []string{"bundle ID"}},
	{"SENDER_ID_MISMATCH", a(refused(bell.FCM, 403, "SENDER_ID_MISMATCH")), "sender_id_mismatch", false, []string{"another Firebase project"}},
	{"our queue is full", a(to("d1", bell.FCM, bell.DeliveryFailed, "route_full")), "route_full", false, []string{"Too many deliveries"}},
	{"mailboxes are full", a(to("d1", bell.LongPoll, bell.DeliveryFailed, "mailbox_full")), "mailbox_full", false, []string{"full"}},
	{"our rate", a(to("d1", bell.FCM, bell.DeliveryExpired, "busy", try(1, 2, bell.RetryConnect, 0, "busy"), try(2, 50_000, bell.RetryConnect, 0, "busy"))), "our_limit", false, []string{"at once"}},

	// What providers said.
	{"payload", a(refused(bell.APNsVoIP, 413, "PayloadTooLarge")), "payload_too_large", false, []string{"too large"}},
	{"not a token", a(refused(bell.FCM, 400, "INVALID_ARGUMENT"), last(checked)), "bad_token_format", false, []string{"no push token"}},
	{"a bad message", a(refused(bell.FCM, 400, "INVALID_ARGUMENT")), "bad_request", false, []string{"defect of planetbell"}},
	{"wrong server, repaired", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", at(bell.APNsProduction, try(1, 2, bell.RetryOtherHost, 400, "BadDeviceToken")), at(bell.APNsSandbox, took(2, 30)))), "unanswered", true, []string{"40 ms"}},
	{"both servers refuse", a(to("d1", bell.APNsVoIP, bell.DeliveryFailed, "BadDeviceToken", at(bell.APNsProduction, try(1, 2, bell.RetryOtherHost, 400, "BadDeviceToken")), at(bell.APNsSandbox, try(2, 30, bell.RetryOtherHost, 400, "BadDeviceToken")))), "bad_device_token_everywhere", false, []string{"Both of Apple's servers"}},
	{"one server refuses", a(to("d1", bell.APNsVoIP, bell.DeliveryFailed, "BadDeviceToken", at(bell.APNsProduction, try(1, 2, bell.RetryOtherHost, 400, "BadDeviceToken")))), "bad_device_token", false, []string{"production", "no other server"}},
	{"suspended, the only one", a(refused(bell.FCM, 403, "SENDER_ID_MISMATCH"), left(bell.DeviceNote{DeviceID: "d1", Channel: bell.FCM, Why: bell.NoteSuspended, Reason: "INVALID_ARGUMENT", Since: noon.Add(-time.Hour), Rung: true})), "sender_id_mismatch", false, []string{"another Firebase project"}},
	{"suspended, refused again", a(to("d1", bell.APNsVoIP, bell.DeliveryFailed, "BadDeviceToken", try(1, 2, bell.RetryOtherHost, 400, "BadDeviceToken")), left(bell.DeviceNote{DeviceID: "d1", Channel: bell.APNsVoIP, Why: bell.NoteSuspended, Reason: "BadDeviceToken", Since: noon.Add(-time.Hour), Rung: true})), "suspended_and_refused", false, []string{"suspended since 2026-09-01 11:00:00", "no better one"}},
	{"uninstalled from an iPhone", a(refused(bell.APNsVoIP, 410, "Unregistered")), "unregistered", false, []string{"no longer on bob's IOS device"}},
	{"uninstalled from Android", a(refused(bell.FCM, 404, "UNREGISTERED")), "unregistered", false, []string{"FCM says"}},
	{"a subscription that is gone", a(refused(bell.WebPush, 410, "errno_103")), "subscription_gone", false, []string{"subscription"}},
	{"a subscription that Mozilla does not know", a(refused(bell.WebPush, 410, "errno_106")), "subscription_gone", false, []string{"errno_106"}},
	{"a subscription that Google does not know", a(refused(bell.WebPush, 404, "http_404")), "subscription_gone", false, []string{"subscription of bob's browser device"}},
	{"a VAPID token that Google refuses", a(refused(bell.WebPush, 403, "http_403")), "vapid_key_or_signature", false, []string{"another VAPID key", "signature"}},
	{"a message that Google does not take", a(refused(bell.WebPush, 400, "http_400")), "bad_request", false, []string{"defect of planetbell", "http_400"}},
	{"a message that Mozilla does not take", a(refused(bell.WebPush, 400, "errno_110")), "bad_request", false, []string{"defect of planetbell", "errno_110"}},
	{"too many messages for Mozilla", a(to("d1", bell.WebPush, bell.DeliveryFailed, "errno_201", try(1, 2, bell.RetryThrottled, 429, "errno_201"))), "throttled_web", false, []string{"no more messages", "errno_201"}},
	{"a new number of Mozilla's", a(refused(bell.WebPush, 418, "errno_999")), "refused_unknown", false, []string{"418", "does not know"}},
	{"too many messages for Google", a(to("d1", bell.WebPush, bell.DeliveryFailed, "http_429", try(1, 2, bell.RetryThrottled, 429, "http_429"))), "throttled_web", false, []string{"no more messages", "http_429"}},
	{"a page of 429", a(refused(bell.FCM, 429, "http_429")), "throttled_project", false, []string{"of this project"}},
	{"a message that Mozilla finds too large", a(refused(bell.WebPush, 413, "errno_104")), "payload_too_large", false, []string{"too large"}},
	{"a strange push service", a(to("d1", bell.WebPush, bell.DeliveryFailed, "push_service_not_allowed")), "push_service_not_allowed", false, []string{"may not send to"}},
	{"keys of a subscription", a(to("d1", bell.WebPush, bell.DeliveryFailed, "bad_subscription")), "bad_token_format", false, []string{"bad_subscription"}},
	{"throttled device", a(to("d1", bell.APNsVoIP, bell.DeliveryFailed, "TooManyRequests", try(1, 2, bell.RetryThrottled, 429, "TooManyRequests"), try(2, 2000, bell.RetryThrottled, 429, "TooManyRequests"))), "throttled_device", false, []string{"no more pushes for bob"}},
	{"throttled project", a(refused(bell.FCM, 429, "QUOTA_EXCEEDED")), "throttled_project", false, []string{"of this project"}},
	{"held back by the guards", a(to("d1", bell.APNsVoIP, bell.DeliveryExpired, "ServiceUnavailable", try(1, 2, bell.RetryBackoff, 503, "ServiceUnavailable"), try(2, 700, bell.RetryBackoff, 503, "ServiceUnavailable"))), "retries_held_back", false, []string{"held further ones back", "2 attempts"}},
	{"down", a(to("d1", bell.APNsVoIP, bell.DeliveryFailed, "ServiceUnavailable", try(1, 2, bell.RetryBackoff, 503, "ServiceUnavailable"), try(2, 700, bell.RetryBackoff, 503, "ServiceUnavailable"), try(3, 3000, bell.RetryBackoff, 503, "ServiceUnavailable"))), "provider_down", false, []string{"unwell", "3 attempts"}},
	{"a page of 520", a(to("d1", bell.FCM, bell.DeliveryFailed, "http_520", try(1, 2, bell.RetryBackoff, 520, "http_520"))), "provider_down_status", false, []string{"520"}},
	{"the token server", a(to("d1", bell.FCM, bell.DeliveryFailed, "oauth_unavailable", try(1, 2, bell.RetryBackoff, 0, "oauth_unavailable"))), "token_server_down", false, []string{"token server"}},
	{"DNS", a(to("d1", bell.FCM, bell.DeliveryExpired, "dns", try(1, 2, bell.RetryConnect, 0, "dns"), try(2, 52_000, bell.RetryConnect, 0, "dns"))), "provider_name_unknown", false, []string{"did not resolve"}},
	{"TLS", a(to("d1", bell.APNsVoIP, bell.DeliveryExpired, "tls", try(1, 52_000, bell.RetryConnect, 0, "tls"))), "provider_tls", false, []string{"TLS"}},
	{"a proxy", a(to("d1", bell.APNsVoIP, bell.DeliveryExpired, "proxy", try(1, 52_000, bell.RetryConnect, 0, "proxy"))), "proxy_refused", false, []string{"proxy"}},
	{"no connection", a(to("d1", bell.APNsVoIP, bell.DeliveryExpired, "dial", try(1, 52_000, bell.RetryConnect, 0, "dial"))), "provider_unreachable", false, []string{"could not connect"}},
	{"no answer", a(to("d1", bell.FCM, bell.DeliveryFailed, "timeout", try(1, 2, bell.RetryNow, 0, "timeout"))), "provider_silent", false, []string{"did not answer in time"}},
	{"broken connections", a(to("d1", bell.FCM, bell.DeliveryFailed, "goaway", try(1, 2, bell.RetryConnect, 0, "goaway"))), "connection_broken", false, []string{"broke"}},
	{"a new word", a(to("d1", bell.APNsVoIP, bell.DeliveryFailed, "unknown_reason", try(1, 2, bell.Rejected, 403, "unknown_reason"))), "refused_unknown", false, []string{"403", "does not know"}},
	{"a page of 418", a(to("d1", bell.FCM, bell.DeliveryFailed, "http_418", try(1, 2, bell.Rejected, 418, "http_418"))), "middlebox", false, []string{"418", "proxy"}},
	{"called off after a failure", a(to("d1", bell.FCM, bell.DeliveryWithdrawn, "cancelled", try(1, 2, bell.RetryBackoff, 503, "UNAVAILABLE"), try(2, 900, bell.RetryNow, 0, "cancelled")), canceled(1000)), "provider_down", false, []string{"UNAVAILABLE"}},

	// It arrived, and did not ring.
	{"the app could not use it", a(to("d1", bell.FCM, bell.DeliveryReceived, "", took(1, 2)), receipt(100), last(func(d *Delivery) { d.Receipt.Problem = "DECODE_CALL_PARAM" })), "app_failed", false, []string{"DECODE_CALL_PARAM"}},
	{"received late", a(to("d1", bell.FCM, bell.DeliveryReceived, "", took(1, 2)), receipt(75_000)), "received_late", false, []string{"15 s after it was over"}},
	{"received late, with lowered priority", a(to("d1", bell.FCM, bell.DeliveryReceived, "", took(1, 2)), receipt(75_000), last(func(d *Delivery) { d.Receipt.Priority, d.Receipt.OriginalPriority = "normal", "high" })), "received_late_low_priority", false, []string{"priority"}},
	{"never received", a(to("d1", bell.FCM, bell.DeliveryAccepted, "", took(1, 2)), last(acknowledges)), "never_received", false, []string{"FCM took the push", "never said"}},
	{"a poll that was not acknowledged", a(to("d1", bell.LongPoll, bell.DeliveryExpired, "polled", polled(1, 5))), "poll_not_acknowledged", false, []string{"written", "never acknowledged"}},
	{"taken after the end", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", try(1, 2, bell.RetryNow, 0, "timeout"), took(2, 3100)), canceled(2000)), "accepted_late", false, []string{"1.1 s after the call was over", "timeout"}},
	{"taken after the end, at first", a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 3100)), canceled(2000)), "accepted_late_at_first", false, []string{"1.1 s after the call was over", "no attempt had failed"}},
	{"taken after the end, and received", a(to("d1", bell.FCM, bell.DeliveryReceived, "", took(1, 3100)), receipt(12_000), canceled(2000)), "accepted_late_at_first", false, []string{"1.1 s after the call was over"}},
	{"taken after the ring, and no Call Event", a(to("d1", bell.FCM, bell.DeliveryAccepted, "", took(1, 56_000)), open(bell.CallRinging, 600_000)), "accepted_late_at_first", false, []string{"1 s after the call was over"}},
	{"fetched after the end", a(to("d1", bell.LongPoll, bell.DeliveryAccepted, "", polled(1, 3100)), canceled(2000)), "fetched_after_end", false, []string{"1.1 s after it was over"}},

	// Nobody was there.
	{"killed after a refusal", a(to("d1", bell.FCM, bell.DeliveryExpired, "UNAVAILABLE", try(1, 2, bell.RetryBackoff, 503, "UNAVAILABLE")), markedAt(120_000)), "server_away", false, []string{"bob's ANDROID device", "back 1 min 5 s after"}},
	{"killed in the first attempt", a(to("d1", bell.APNsVoIP, bell.DeliveryExpired, "deadline"), markedAt(120_000)), "server_away", false, []string{"was away when the ring of bob's IOS device ended"}},
	{"killed while a mailbox waited", a(to("d1", bell.LongPoll, bell.DeliveryExpired, "not_polled"), markedAt(120_000)), "server_away", false, []string{"DESKTOPWIN"}},
	{"killed after another process had gone on", a(to("d1", bell.FCM, bell.DeliveryExpired, "deadline"), markedAt(120_000), last(func(d *Delivery) { d.Delivery.ContinuedAt = ms(17_000) })), "server_away", false, []string{"away"}},
	{"killed, and not marked yet", a(to("d1", bell.FCM, bell.DeliverySending, ""), open(bell.CallRinging, 120_000)), "server_away", false, []string{"back 1 min 5 s after"}},
	{"killed, and the Call Event came first after that", a(to("d1", bell.APNsVoIP, bell.DeliveryWithdrawn, ""), markedAt(120_000), canceled(120_000)), "server_away", false, []string{"IOS"}},
	{"a busy server marks it some seconds late", a(to("d1", bell.LongPoll, bell.DeliveryExpired, "not_polled"), markedAt(69_000)), "not_polled", false, []string{"did not poll"}},
	{"the database was away, and the provider failed until the end", a(to("d1", bell.FCM, bell.DeliveryExpired, "dial", try(1, 2, bell.RetryConnect, 0, "dial"), try(2, 52_000, bell.RetryConnect, 0, "dial")), markedAt(120_000)), "provider_unreachable", false, []string{"could not connect"}},
	{"the database was away, and the provider had refused", a(to("d1", bell.FCM, bell.DeliveryExpired, "deadline", try(1, 2, bell.Rejected, 404, "UNREGISTERED")), markedAt(120_000)), "unregistered", false, []string{"UNREGISTERED"}},

	// Time was up.
	{"nobody polled", a(to("d1", bell.LongPoll, bell.DeliveryExpired, "not_polled")), "not_polled", false, []string{"did not poll"}},
	{"hung up before a poll", a(to("d1", bell.LongPoll, bell.DeliveryWithdrawn, ""), canceled(1200)), "not_polled_before_end", false, []string{"1.2 s", "polled"}},
	{"hung up before the push", a(to("d1", bell.APNsVoIP, bell.DeliveryWithdrawn, ""), canceled(40)), "withdrawn", false, []string{"40 ms"}},
	{"the process died", a(to("d1", bell.APNsVoIP, bell.DeliveryExpired, "deadline"), last(func(d *Delivery) { d.Delivery.ContinuedAt = ms(54_000) })), "stopped_in_between", false, []string{"stopped or died", "54 s"}},
	{"waited in the server", a(to("d1", bell.APNsVoIP, bell.DeliveryExpired, "deadline")), "queued_too_long", false, []string{"waited in this server", "not running"}},
	{"a notice that is not sent any more", a(to("d1", bell.APNsVoIP, bell.DeliveryFailed, "channel_off")), "notice_off", false, []string{"not sent to bob's IOS device", "any more"}},
	{"no token when sent", a(to("d1", bell.FCM, bell.DeliveryFailed, "no_token")), "no_token", false, []string{"was gone"}},
	{"no token when another process went on", a(to("d1", bell.FCM, bell.DeliveryFailed, "no_token", try(1, 2, bell.RetryNow, 0, "cancelled")), last(func(d *Delivery) { d.Delivery.ContinuedAt = ms(4000) })), "no_token", false, []string{"was gone"}},
	{"stopped, and started too late", a(to("d1", bell.FCM, bell.DeliveryExpired, "cancelled", try(1, 2, bell.RetryNow, 0, "cancelled"))), "server_stopped", false, []string{"stopped while it rang", "ANDROID"}},
	{"stopped after a failure", a(to("d1", bell.FCM, bell.DeliveryExpired, "closed", try(1, 2, bell.RetryBackoff, 503, "UNAVAILABLE"), try(2, 900, bell.RetryConnect, 0, "closed"))), "provider_down", false, []string{"UNAVAILABLE"}},
	{"under way", a(to("d1", bell.FCM, bell.DeliverySending, "UNAVAILABLE", try(1, 2, bell.RetryBackoff, 503, "UNAVAILABLE")), open(bell.CallRinging, 900)), "under_way", false, []string{"still being tried"}},
	{"in the mailbox", a(to("d1", bell.LongPoll, bell.DeliveryPending, ""), open(bell.CallRinging, 900)), "waits_for_poll", false, []string{"until"}},
	{"lost, and nothing rang", a(to("d1", bell.LongPoll, bell.DeliveryExpired, "not_polled"), open(bell.CallLost, 90_000_000)), "not_polled", false, []string{"did not poll"}},
	{"what has to be repaired comes first", a(to("d1", bell.LongPoll, bell.DeliveryExpired, "not_polled"), to("d2", bell.FCM, bell.DeliveryFailed, "PERMISSION_DENIED", try(1, 2, bell.Rejected, 403, "PERMISSION_DENIED"))), "google_permission_denied", false, []string{"None of bob's 2 devices"}},
}

func TestTheCorpus(t *testing.T) {
	t.Parallel()
	if len(corpus) < 60 {
		t.Fatalf("the corpus has %d cases", len(corpus))
	}
	for _, c := range corpus {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := Of(c.in)
			if got.Code != c.code || got.Rang != c.rang {
				t.Errorf("%s, rang %t; want %s, %t: %s", got.Code, got.Rang, c.code, c.rang, got.Sentence.English)
			}
			for _, word := range c.words {
				if !strings.Contains(got.Sentence.English, word) {
					t.Errorf("%q does not say %q", got.Sentence.English, word)
				}
			}
			wantWhole(t, got)
			if len(got.Evidence) == 0 && c.in.Call.State != bell.CallNotice {
				t.Error("there is no evidence")
			}
		})
	}
}

// wantWhole wants a verdict with all its sentences, and nothing missing in them.
func wantWhole(t interface {
	Helper()
	Errorf(string, ...any)
}, v Verdict,
) {
	t.Helper()
	check := func(code Code, texts ...Text) {
		t.Helper()
		if texts[0].English == "" || texts[0].Japanese == "" {
			t.Errorf("%s has no sentence: %+v", code, texts[0])
		}
		for _, text := range texts {
			if s := text.English + text.Japanese; strings.ContainsAny(s, "{}?？") {
				t.Errorf("%s leaves something open: %s", code, s)
			}
		}
	}
	check(v.Code, v.Sentence, v.Fix)
	for _, d := range v.Devices {
		check(d.Code, d.Sentence, d.Fix)
		if d.Name == "" || d.Code == "" || d.Hop == "" {
			t.Errorf("a device without name, code or hop: %+v", d)
		}
	}
	for _, e := range v.Evidence {
		check("evidence", e.What)
	}
	if !slices.IsSortedFunc(v.Evidence, func(a, b Evidence) int { return a.At.Compare(b.At) }) {
		t.Errorf("the evidence is not in order: %+v", v.Evidence)
	}
}

// Each rule says something of some record; the corpus knows all of them.
func TestTheCorpusNeedsEveryRule(t *testing.T) {
	t.Parallel()
	seen := map[Code]bool{
		Missing("sid").Code: true,
		Of(Input{}).Code:    true, // unknown
		Of(a(to("d1", bell.FCM, bell.DeliveryFailed, "a_reason_of_tomorrow"))).Code: true,
	}
	for _, in := range append(deviceCorpus(), Input{}) {
		for _, d := range Of(in).Devices {
			seen[d.Code] = true
		}
	}
	for _, c := range corpus {
		v := Of(c.in)
		seen[v.Code] = true
		for _, d := range v.Devices {
			seen[d.Code] = true
		}
	}
	calls, devices := Rules()
	for _, r := range append(calls, devices...) {
		if !seen[r.Code] {
			t.Errorf("no record makes %s", r.Code)
		}
	}
	if len(seen) != len(calls)+len(devices) {
		t.Errorf("%d codes are seen, there are %d", len(seen), len(calls)+len(devices))
	}
}

// deviceCorpus are records whose call's verdict is another than that of a device in them.
func deviceCorpus() []Input {
	fine := to("d9", bell.APNsVoIP, bell.DeliveryAccepted, "", took(1, 2))
	return []Input{
		a(fine, left(why("d1", bell.NoteSuspended, "BadDeviceToken"))),
		a(fine, left(why("d1", bell.NoteTooMany, ""))),
		a(to("d1", bell.LongPoll, bell.DeliveryAccepted, "", polled(1, 9000))),
		a(to("d1", bell.FCM, bell.DeliveryAccepted, "", try(1, 2, bell.RetryNow, 0, "timeout"), took(2, 10_100))),
		a(to("d1", bell.FCM, bell.DeliveryAccepted, "", took(1, 10_100))),
		a(to("d1", bell.FCM, bell.DeliveryReceived, "", took(1, 190)), receipt(1500), canceled(1200)),
	}
}

func TestDevicesOfTheDeviceCorpus(t *testing.T) {
	t.Parallel()
	want := []Code{"suspended", "too_many_devices", "fetched_late", "told_late", "told_late_at_first", "received_at_end"}
	for i, in := range deviceCorpus() {
		v := Of(in)
		if d := v.Devices[len(v.Devices)-1]; d.Code != want[i] || !v.Rang {
			t.Errorf("the device is %s, the call rang %t; want %s", d.Code, v.Rang, want[i])
		}
		wantWhole(t, v)
	}
	repaired := Of(a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", at(bell.APNsProduction, try(1, 2, bell.RetryOtherHost, 400, "BadDeviceToken")), at(bell.APNsSandbox, took(2, 30)))))
	if d := repaired.Devices[0]; d.Code != "wrong_apns_server_repaired" || !strings.Contains(d.Sentence.English, "APNs production refused the token of bob's IOS device as BadDeviceToken; sandbox accepts it") || d.ToAccept != Span(40*time.Millisecond) {
		t.Errorf("%+v", d)
	}
	between := Of(a(to("d1", bell.APNsVoIP, bell.DeliveryAccepted, "", at(bell.APNsProduction, try(1, 2, bell.RetryNow, 0, "timeout")),
		at(bell.APNsProduction, try(2, 20, bell.RetryOtherHost, 400, "BadDeviceToken")), at(bell.APNsSandbox, try(3, 40, bell.RetryBackoff, 503, "ServiceUnavailable")), at(bell.APNsSandbox, took(4, 900)))))
	if d := between.Devices[0]; !strings.Contains(d.Sentence.English, "APNs production refused the token of bob's IOS device as BadDeviceToken; sandbox accepts it") {
		t.Errorf("%+v", d)
	}
}
