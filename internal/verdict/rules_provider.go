package verdict

import (
	"slices"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
)

// byReason makes a rule of reasons of deliveries: the provider's words, or ours. It matches
// whatever ended the delivery: a call that was over before the next attempt had not rung
// because of the one before.
func byReason(code Code, hop Hop, sentence, fix Text, reasons ...string) deviceRule {
	r := Rule{code, hop, false, sentence, "a delivery whose last reason is " + strings.Join(reasons, ", "), fix}
	return deviceRule{r, func(d *device) bool { return d.d != nil && slices.Contains(reasons, d.reason) }}
}

// only narrows a rule.
func (r deviceRule) only(needs string, when func(*device) bool) deviceRule {
	before := r.when
	r.Needs += needs
	r.when = func(d *device) bool { return before(d) && when(d) }
	return r
}

// byWeb makes a rule of bare statuses of web push services.
func byWeb(code Code, hop Hop, sentence, fix Text, statuses ...int) deviceRule {
	r := Rule{code, hop, false, sentence, "an answer of a web push service with the status " + numbers(statuses) + " and no reason that is known", fix}
	return deviceRule{r, func(d *device) bool { return d.bareWeb(statuses) }}
}

// bareWeb reports whether a web push service answered with one of the statuses, and no reason or
// a number of Mozilla's.
func (dev *device) bareWeb(statuses []int) bool {
	return dev.d != nil && dev.channel == bell.WebPush && (strings.HasPrefix(dev.reason, "http_") || numbered(dev.reason)) &&
		slices.Contains(statuses, dev.refused.Outcome.Status)
}

// numbered reports whether a reason is a number of Mozilla's push service.
func numbered(reason string) bool { return strings.HasPrefix(reason, "errno_") }

// orWeb lets a rule also match bare statuses of web push services, most of which say no reason.
func (r deviceRule) orWeb(statuses ...int) deviceRule {
	before := r.when
	r.Needs += ", or an answer of a web push service with the status " + numbers(statuses)
	r.when = func(d *device) bool {
		return before(d) || d.bareWeb(statuses)
	}
	return r
}

// status makes a rule of answers whose reason says nothing more.
func status(code Code, hop Hop, sentence, fix Text, needs string, when func(status int) bool) deviceRule {
	return deviceRule{Rule{code, hop, false, sentence, needs, fix}, func(d *device) bool {
		return d.d != nil && when(d.refused.Outcome.Status)
	}}
}

// ownRules are about this server: its settings and its load. The channel of a new sender is
// one more reason in a row.
var ownRules = []deviceRule{
	byReason("project_not_configured", HopServer,
		Text{"The project through which {device} registered is not in the configuration any more, so nothing was sent.", "{device}が登録されたプロジェクトは現在の設定に存在しないため、送信していません。"},
		Text{"Put the project back, or have the user sign in again through one that is configured.", "プロジェクトを設定に戻すか、設定済みのプロジェクトで再サインインしてもらってください。"}, "project_not_configured"),
	{
		Rule{
			"no_credential", HopServer, false,
			Text{"The project has no credential of {provider} that fits {device} ({reason}), so nothing was sent.", "{device}に対応する{provider}の認証情報がプロジェクトにないため（{reason}）、送信していません。"},
			"a delivery whose reason begins with no_ and names a credential or a key",
			Text{"Add the credential to the project (apns, fcm or web_push in the configuration), and run planetbell config check.", "プロジェクトの設定（apns、fcm、web_push）に認証情報を追加し、planetbell config checkを実行してください。"},
		},
		func(d *device) bool {
			return d.d != nil && strings.HasPrefix(d.reason, "no_") && (strings.Contains(d.reason, "_credential") || d.reason == "no_vapid_key")
		},
	},
	byReason("vapid_key_changed", HopProvider,
		Text{"{provider} refused our key for {device} ({reason}): the browser subscribed with another VAPID key.", "{device}は別のVAPID鍵で購読しているため、{provider}に拒否されました（{reason}）。"},
		Text{"Put the VAPID key back that the page subscribes with, or let the page subscribe anew.", "購読時に使用したVAPID鍵に戻すか、ページで再購読してください。"}, "VapidPkHashMismatch", "errno_109"),
	byReason("vapid_refused", HopProvider,
		Text{"{provider} refused our VAPID signature for {device} ({reason}).", "{provider}が{device}宛てのVAPID署名を拒否しました（{reason}）。"},
		Text{"Check the VAPID key, its contact (sub), and this machine's clock.", "VAPID鍵、連絡先（sub）、サーバーの時計をご確認ください。"},
		"InvalidVapid", "BadJwtToken", "BadAuthorizationHeader", "BadVapidPublicKey", "vapid_signature"),
	byWeb("vapid_key_or_signature", HopProvider,
		Text{"{provider} did not let us send to {device} ({reason}), and did not say why: the browser subscribed with another VAPID key, or our signature is not taken.", "{provider}が{device}への送信を拒否しました（{reason}）。別のVAPID鍵による購読、またはVAPID署名の問題が考えられます。"},
		Text{"If only this browser is concerned, let the page subscribe anew; if all are, check the VAPID key, its contact (sub), and this machine's clock.", "このブラウザーのみの場合は、ページで再購読してください。すべてのブラウザーの場合は、VAPID鍵、連絡先（sub）、サーバーの時計をご確認ください。"}, 401, 403),
	byReason("apns_key_refused", HopProvider,
		Text{"APNs refused our credential ({reason}), so {device} could not be rung.", "APNsが認証情報を拒否したため（{reason}）、{device}を鳴動できませんでした。"},
		Text{"Check team ID, key ID and the .p8 key of the project; this concerns every iPhone.", "プロジェクトのチームID、キーID、.p8キーをご確認ください。すべてのiPhoneに影響します。"},
		"InvalidProviderToken", "MissingProviderToken", "UnrelatedKeyIdInToken", "Forbidden", "credential", "TooManyProviderTokenUpdates"),
	byReason("apns_token_expired", HopServer,
		Text{"APNs finds our provider token too old ({reason}), so {device} could not be rung: this machine's clock is wrong.", "APNsがプロバイダートークンを期限切れと判定したため（{reason}）、{device}を鳴動できませんでした。サーバーの時計のずれが原因です。"},
		Text{"Set the clock (NTP) and look at it again.", "NTPで時計を合わせてください。"}, "ExpiredProviderToken"),
	byReason("apns_key_other_environment", HopProvider,
		Text{"The APNs key or certificate is for Apple's other environment ({reason}), so {device} could not be rung.", "APNsのキーまたは証明書がもう一方の環境用のため（{reason}）、{device}を鳴動できませんでした。"},
		Text{"Name the environment of the key in the configuration, or use a key for both.", "キーの環境を設定に指定するか、両環境で使えるキーを使用してください。"},
		"BadEnvironmentKeyIdInToken", "BadEnvironmentKeyInToken", "BadCertificateEnvironment"),
	byReason("certificate_refused", HopProvider,
		Text{"APNs refused our push certificate ({reason}): it has expired or was revoked, so {device} could not be rung.", "APNsがプッシュ証明書を拒否したため（{reason}）、{device}を鳴動できませんでした。証明書の期限切れまたは失効が原因です。"},
		Text{"Renew the certificate, or use a signing key (.p8), which does not expire.", "証明書を更新するか、期限のない署名キー（.p8）をご利用ください。"}, "BadCertificate", "certificate_expired"),
	byReason("google_key_revoked", HopProvider,
		Text{"Google refuses the service account ({reason}), so {device} could not be rung: its key was revoked, or this machine's clock is wrong.", "Googleがサービスアカウントを拒否したため（{reason}）、{device}を鳴動できませんでした。鍵の失効またはサーバーの時計のずれが原因です。"},
		Text{"Make a new key for the service account and put it into the configuration; check the clock.", "サービスアカウントの鍵を再発行して設定し、時計をご確認ください。"}, "oauth_invalid_grant", "oauth_refused"),
	byReason("google_token_refused", HopProvider,
		Text{"FCM did not take our access token ({reason}), so {device} could not be rung.", "FCMがアクセストークンを受け付けなかったため（{reason}）、{device}を鳴動できませんでした。"},
		Text{"Check the service account of the project and this machine's clock.", "プロジェクトのサービスアカウントとサーバーの時計をご確認ください。"}, "UNAUTHENTICATED"),
	byReason("google_permission_denied", HopProvider,
		Text{"The service account may not send through FCM ({reason}), so {device} could not be rung.", "サービスアカウントにFCMの送信権限がないため（{reason}）、{device}を鳴動できませんでした。"},
		Text{"Enable the FCM API in the Firebase project, and give the account cloudmessaging.messages.create.", "FirebaseプロジェクトでFCM APIを有効にし、cloudmessaging.messages.create権限を付与してください。"}, "PERMISSION_DENIED"),
	byReason("google_project_unknown", HopProvider,
		Text{"FCM does not know the project ({reason}), so {device} could not be rung.", "FCMにプロジェクトが見つからないため（{reason}）、{device}を鳴動できませんでした。"},
		Text{"Check project_id in the service account's file.", "サービスアカウントのproject_idをご確認ください。"}, "NOT_FOUND"),
	byReason("third_party_credential", HopProvider,
		Text{"The APNs or web push credential inside the Firebase project is wrong ({reason}), so {device} could not be rung.", "Firebaseプロジェクト内のAPNsまたはWeb Pushの認証情報が正しくないため（{reason}）、{device}を鳴動できませんでした。"},
		Text{"Repair it in the Firebase console.", "Firebaseコンソールで修正してください。"}, "THIRD_PARTY_AUTH_ERROR", "APNS_AUTH_ERROR"),
	byReason("wrong_topic", HopServer,
		Text{"APNs says that the token of {device} is not for our topic ({reason}): the bundle ID in the configuration is another app's.", "APNsによると、{device}のトークンは設定のトピック用ではありません（{reason}）。設定のバンドルIDが別のアプリのものです。"},
		Text{"Correct bundle_id in the configuration, without .voip; check that the app registers its VoIP token as VoIP.", "設定のbundle_idを修正し（.voipは不要）、アプリがVoIPトークンをVoIPとして登録しているかをご確認ください。"},
		"DeviceTokenNotForTopic", "TopicDisallowed", "BadTopic", "MissingTopic"),
	byReason("sender_id_mismatch", HopServer,
		Text{"The FCM token of {device} belongs to another Firebase project than the configured service account ({reason}).", "{device}のFCMトークンは、設定のサービスアカウントとは別のFirebaseプロジェクトのものです（{reason}）。"},
		Text{"Use the service account of the project whose google-services.json is in the app.", "アプリのgoogle-services.jsonと同じFirebaseプロジェクトのサービスアカウントを設定してください。"}, "SENDER_ID_MISMATCH"),
	byReason("route_full", HopServer,
		Text{"Too many deliveries waited for {provider} in this server, so {device} was not tried.", "{provider}宛ての送信待ちが上限に達していたため、{device}への送信を行っていません。"},
		Text{"Look at why {provider} is slow, and at planetbell_deliveries_in_flight; add nodes if the load is real.", "{provider}の遅延原因とplanetbell_deliveries_in_flightをご確認ください。負荷が高い場合はノードを追加してください。"}, "route_full", "no_room"),
	byReason("mailbox_full", HopServer,
		Text{"The mailboxes of this server were full, so the call was not kept for {device}.", "メールボックスが満杯のため、{device}宛ての着信を保管できませんでした。"},
		Text{"Look for users who ring devices that never poll; if the load is real, raise limits.mailbox_calls, or add nodes.", "ポーリングしない端末への大量の着信がないかをご確認ください。実際の負荷の場合は、limits.mailbox_callsを引き上げるか、ノードを追加してください。"}, "mailbox_full"),
	byReason("our_limit", HopServer,
		Text{"More pushes were under way to {provider} than this server lets go at once ({reason}), until it was too late for {device}.", "{provider}への同時送信数が上限に達しており（{reason}）、{device}への送信が間に合いませんでした。"},
		Text{"Raise the limit (fcm.messages_per_second, APNs connections), or ask the provider for more.", "上限（fcm.messages_per_second、APNs接続数）を引き上げるか、事業者に割り当て増加を依頼してください。"}, "busy", "no_stream"),
}

// refusalRules are about what a provider said of the device or of the push, and about how it
// was to be reached.
var refusalRules = []deviceRule{
	byReason("payload_too_large", HopServer,
		Text{"The push for {device} was too large ({reason}).", "{device}宛てのプッシュが大きすぎました（{reason}）。"},
		Text{"Make app server data and the fields that the policy hook adds shorter.", "アプリサーバーデータと、ポリシーフックが追加する項目を短くしてください。"}, "PayloadTooLarge", "PAYLOAD_TOO_LARGE", "payload_too_large", "too_large", "errno_104", "http_413"),
	byReason("bad_token_format", HopDevice,
		Text{"{provider} says that what {device} registered is no push token ({reason}).", "{device}が登録したのはプッシュトークンではないと{provider}が応答しました（{reason}）。"},
		Text{"Look at what the app sends to update_notification_token: it must be the token as the system gives it.", "アプリがupdate_notification_tokenに送る値（OSから取得したトークンそのもの）をご確認ください。"}, "INVALID_ARGUMENT", "MissingDeviceToken", "bad_subscription").
		only(", and speaks against the token", func(d *device) bool { return d.refused.Outcome.Token != bell.TokenKeep || d.channel == bell.WebPush }),
	byReason("push_service_not_allowed", HopServer,
		Text{"The subscription of {device} names a push service that this server may not send to ({reason}).", "{device}の購読先のプッシュサービスには送信が許可されていません（{reason}）。"},
		Text{"If it is a real push service, add it to web_push in the configuration.", "正規のプッシュサービスであれば、設定のweb_pushに追加してください。"}, "push_service_not_allowed", "address"),
	byReason("bad_request", HopServer,
		Text{"{provider} did not take the push for {device} as it was made ({reason}): this is a defect of planetbell.", "{provider}が{device}宛てのプッシュの形式を受け付けませんでした（{reason}）。planetbellの不具合です。"},
		Text{"Report it with planetbell call show --json.", "planetbell call show --jsonの結果を添えてご報告ください。"},
		"BadCollapseId", "BadExpirationDate", "BadMessageId", "BadPriority", "DuplicateHeaders", "InvalidPushType", "PayloadEmpty", "BadPath", "MethodNotAllowed",
		"INVALID_ARGUMENT", "BadTtl", "BadUrgency", "BadWebPushRequest", "BadWebPushTopic", "bad_request", "panic").
		orWeb(400, 405),
	{
		Rule{
			"suspended_and_refused", HopDevice, false,
			Text{"{device}, suspended since {since} for {held_for}, was tried because {callee} has no better one, and refused again ({reason}).", "{device}は{held_for}により{since}から一時停止中でしたが、他に端末がないため送信し、再び拒否されました（{reason}）。"},
			"a note that the device was suspended and rung all the same, and a refusal",
			Text{"Have {callee} open the app, so that it registers a new push token.", "アプリを開いて新しいプッシュトークンを登録するよう、{callee}にご案内ください。"},
		},
		func(d *device) bool {
			return d.d != nil && d.note != nil && d.note.Why == bell.NoteSuspended && d.refused.Outcome.Token == bell.TokenCheck
		},
	},
	byReason("bad_device_token_everywhere", HopDevice,
		Text{"Both of Apple's servers refused the token of {device} ({reason}): it is malformed, or of an app that is gone.", "Appleの両方のサーバーが{device}のトークンを拒否しました（{reason}）。形式の誤り、または削除済みのアプリのトークンです。"},
		Text{"Have {callee} open the app, so that it registers a new push token.", "アプリを開いて新しいプッシュトークンを登録するよう、{callee}にご案内ください。"}, "BadDeviceToken").
		only(", after the other server was asked too", (*device).repaired).
		only("", func(d *device) bool { return len(d.attempts()) > 1 }),
	byReason("bad_device_token", HopDevice,
		Text{"APNs {server} refused the token of {device} as {reason}, and there is no other server to ask: it is malformed, or of a build for Apple's other environment.", "APNs {server}が{device}のトークンを{reason}として拒否しました。形式の誤り、またはもう一方の環境用のビルドです。"},
		Text{"Use a key that is good for both APNs environments, and let the app say which one it was built for.", "両方のAPNs環境で使えるキーを使用し、アプリの登録時に環境を指定してください。"}, "BadDeviceToken"),
	byReason("unregistered", HopDevice,
		Text{"{provider} says that the app is no longer on {device} ({reason}); its push token is forgotten.", "{device}からアプリが削除されていると{provider}が応答しました（{reason}）。プッシュトークンは削除されます。"},
		Text{"Have {callee} install the app again and open it.", "アプリを再インストールして開くよう、{callee}にご案内ください。"}, "Unregistered", "ExpiredToken", "UNREGISTERED"),
	byReason("subscription_gone", HopDevice,
		Text{"{provider} says that the subscription of {device} is gone ({reason}).", "{device}の購読は無効になっていると{provider}が応答しました（{reason}）。"},
		Text{"Have {callee} open the page, so that it subscribes again.", "ページを開いて再購読するよう、{callee}にご案内ください。"}, "errno_102", "errno_103", "errno_105", "errno_106", "subscription_gone").
		orWeb(404, 410),
	byReason("throttled_device", HopProvider,
		Text{"{provider} takes no more pushes for {device} at the moment ({reason}).", "{provider}が{device}宛てのプッシュを一時的に制限しています（{reason}）。"},
		Text{"Look for somebody who rings this device again and again.", "この端末への着信が繰り返されていないかをご確認ください。"}, "TooManyRequests"),
	byWeb("throttled_web", HopProvider,
		Text{"{provider} takes no more messages for {device}, or of this server, at the moment ({reason}).", "{provider}が{device}宛て、またはこのサーバーからの送信を一時的に制限しています（{reason}）。"},
		Text{"Look for somebody who rings this browser again and again; if many browsers are concerned, look at what else sends from this machine's address.", "このブラウザーへの着信が繰り返されていないかをご確認ください。多数のブラウザーに及ぶ場合は、同じIPアドレスからの他の送信をご確認ください。"}, 429),
	byReason("throttled_project", HopProvider,
		Text{"{provider} takes no more messages of this project at the moment ({reason}).", "{provider}がこのプロジェクトの送信を一時的に制限しています（{reason}）。"},
		Text{"Ask for a higher quota, and set fcm.messages_per_second to it.", "割り当ての増加を申請し、fcm.messages_per_secondに反映してください。"}, "QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED", "http_429"),
	{
		Rule{
			"retries_held_back", HopServer, false,
			Text{"After {attempts} attempts for {device} ({reason}), this server held further ones back until the ring was over: {provider} was failing for many.", "{device}への{attempts}回の送信が失敗し（{reason}）、{provider}の広範な障害のため、呼び出し終了まで再送を控えました。"},
			"a delivery that expired long after its last attempt, which was worth another",
			Text{"Look at {provider}: planetbell_push_attempts_total tells since when it fails.", "{provider}の状態をご確認ください。障害の開始時刻はplanetbell_push_attempts_totalで確認できます。"},
		},
		(*device).heldBack,
	},
	byReason("provider_down", HopProvider,
		Text{"{provider} was unwell and did not take the push for {device} in {attempts} attempts ({reason}).", "{provider}の障害により、{device}宛てのプッシュは{attempts}回の送信でも受け付けられませんでした（{reason}）。"},
		Text{"See the provider's status page; nothing here is to be repaired.", "事業者の稼働状況ページをご確認ください。"},
		"InternalServerError", "ServiceUnavailable", "Shutdown", "INTERNAL", "UNAVAILABLE", "IdleTimeout", "errno_201", "errno_202"),
	status("provider_down_status", HopProvider,
		Text{"{provider}, or something before it, answered {status} and did not take the push for {device} in {attempts} attempts.", "{provider}またはその手前の機器が{status}を返し、{device}宛てのプッシュは{attempts}回の送信でも受け付けられませんでした。"},
		Text{"See the provider's status page, and look for a proxy on the way out.", "事業者の稼働状況ページと、外向きのプロキシをご確認ください。"},
		"an answer from 500 on", func(status int) bool { return status >= 500 }),
	byReason("token_server_down", HopProvider,
		Text{"Google's token server could not be used ({reason}), so nothing could be sent to {device}.", "Googleのトークンサーバーを利用できず（{reason}）、{device}に送信できませんでした。"},
		Text{"Check outgoing TCP to port 443 of oauth2.googleapis.com.", "oauth2.googleapis.comの443番ポートへの通信をご確認ください。"}, "oauth_timeout", "oauth_unavailable"),
	byReason("provider_name_unknown", HopNetwork,
		Text{"The name of {provider}'s server did not resolve ({reason}), so {device} could not be rung.", "{provider}のサーバー名を解決できず（{reason}）、{device}を鳴動できませんでした。"},
		Text{"Look at this machine's DNS.", "サーバーのDNS設定をご確認ください。"}, "dns"),
	byReason("provider_tls", HopNetwork,
		Text{"TLS with {provider} failed ({reason}), so {device} could not be rung: a missing root certificate, something that opens TLS on the way, or a push certificate that is expired.", "{provider}とのTLS接続に失敗し（{reason}）、{device}を鳴動できませんでした。ルート証明書の不足、TLSを復号する機器、プッシュ証明書の期限切れが考えられます。"},
		Text{"Update the system's certificates, take the provider's hosts out of TLS inspection, and look at the push certificate's date.", "ルート証明書の更新、TLS検査からの除外、プッシュ証明書の期限をご確認ください。"}, "tls"),
	byReason("proxy_refused", HopNetwork,
		Text{"The proxy does not let this server reach {provider} ({reason}), so {device} could not be rung.", "プロキシ経由で{provider}に接続できず（{reason}）、{device}を鳴動できませんでした。"},
		Text{"Check HTTPS_PROXY and NO_PROXY, and what the proxy allows.", "HTTPS_PROXY、NO_PROXY、プロキシの許可設定をご確認ください。"}, "proxy"),
	byReason("provider_unreachable", HopNetwork,
		Text{"This server could not connect to {provider} ({reason}), so {device} could not be rung.", "{provider}に接続できず（{reason}）、{device}を鳴動できませんでした。"},
		Text{"Check that outgoing TCP to port 443 is open.", "443番ポートへの外向き通信をご確認ください。"}, "dial"),
	byReason("provider_silent", HopProvider,
		Text{"{provider} did not answer in time, {attempts} attempts for {device} ({reason}).", "{provider}から時間内に応答がありませんでした（{device}への送信{attempts}回、{reason}）。"},
		Text{"See the provider's status page, and look at the network on the way.", "事業者の稼働状況と経路のネットワークをご確認ください。"}, "timeout", "outrun"),
	byReason("connection_broken", HopNetwork,
		Text{"The connection to {provider} broke again and again ({reason}), {attempts} attempts for {device}.", "{provider}との接続が繰り返し切断されました（{reason}、{device}への送信{attempts}回）。"},
		Text{"Look for a firewall or NAT that forgets connections.", "接続を破棄するファイアウォールやNATがないかをご確認ください。"}, "goaway", "refused_stream", "reset", "connection_lost"),
	{
		Rule{
			"refused_unknown", HopProvider, false,
			Text{"{provider} answered {status} for {device}, with a reason that this version does not know.", "{provider}が{device}宛ての送信に{status}を返しましたが、このバージョンでは理由を説明できません。"},
			"a delivery whose last reason is unknown_reason, or a number of Mozilla's that no other rule has",
			Text{"The attempt's own line has the provider's word; update planetbell.", "送信履歴に事業者の応答があります。planetbellの更新をご検討ください。"},
		},
		func(d *device) bool { return d.d != nil && (d.reason == "unknown_reason" || numbered(d.reason)) },
	},
	{
		Rule{
			"middlebox", HopNetwork, false,
			Text{"Something answered {status} for {device}, and not in the format of {provider}: a proxy on the way, or a wrong URL.", "{device}宛ての送信に{provider}の形式ではない応答（{status}）がありました。経路上のプロキシ、またはURLの誤りが考えられます。"},
			"a delivery whose last reason is http_ and a number",
			Text{"Look at proxies on the way out, and at the provider's URL in the configuration.", "外向きのプロキシと設定のURLをご確認ください。"},
		},
		func(d *device) bool { return d.d != nil && strings.HasPrefix(d.reason, "http_") },
	},
}

// heldBack reports whether the route's guards must have held a retry back to the ring's end.
func (dev *device) heldBack() bool {
	if dev.state() != bell.DeliveryExpired || dev.last.Number == 0 || brokenOff(dev.last) || !dev.d.Delivery.ContinuedAt.IsZero() {
		return false
	}
	switch dev.last.Outcome.Verdict {
	case bell.RetryNow, bell.RetryConnect, bell.RetryBackoff:
	default:
		return false
	}
	ended := dev.last.StartedAt.Add(dev.last.Took + dev.last.Outcome.RetryAfter)
	return dev.d.Delivery.Deadline.Sub(ended) > heldBack
}

// brokenOff reports whether an attempt was ended by the server itself, without an answer.
func brokenOff(a bell.Attempt) bool {
	return a.Number > 0 && (a.Outcome.Reason == "cancelled" || a.Outcome.Reason == "closed")
}

// endRules are about deliveries that were not refused: time was up.
var endRules = []deviceRule{
	byReason("notice_off", HopServer,
		Text{"This notice was not sent to {device}: its project does not send such notices by this way any more.", "この通知は{device}に送信していません。プロジェクトの設定で、この経路による通知が無効になっています。"},
		Text{"If they are wanted, look at invitations.voip of the project, and whether the project is still in the configuration.", "必要な場合は、プロジェクトのinvitations.voipと、プロジェクトが設定に残っているかをご確認ください。"}, "channel_off"),
	byReason("no_token", HopDevice,
		Text{"The push token of {device} was gone when it was to be sent.", "送信時点で{device}のプッシュトークンは削除済みでした。"},
		Text{"Have {callee} open the app, so that it registers a new push token.", "アプリを開いて新しいプッシュトークンを登録するよう、{callee}にご案内ください。"}, "no_token"),
	{
		Rule{
			"stopped_in_between", HopServer, false,
			Text{"The server process that rang {device} had stopped or died; another one continued {continued} after Notify, and that was too late.", "{device}を担当していたサーバープロセスが停止し、Notifyの{continued}後に引き継がれましたが、間に合いませんでした。"},
			"a delivery that another process took over, and that was not taken",
			Text{"Look at why the process ended; several nodes continue what one of them leaves within seconds.", "プロセスの停止理由をご確認ください。複数ノード構成では数秒以内に引き継がれます。"},
		},
		func(d *device) bool { return d.d != nil && !d.d.Delivery.ContinuedAt.IsZero() && d.state().Final() },
	},
	{
		Rule{
			"server_stopped", HopServer, false,
			Text{"This server was stopped while it rang {device}, and nothing went on with it before the ring was over.", "{device}への送信中にこのサーバーが停止し、呼び出し時間内に送信を再開できませんでした。"},
			"a push that expired, and a last attempt that was broken off",
			Text{"Start the server again at once when it has to be stopped; several nodes continue what one of them leaves within seconds.", "停止後は直ちに再起動してください。複数ノード構成では、ほかのノードが数秒以内に引き継ぎます。"},
		},
		func(d *device) bool { return d.state() == bell.DeliveryExpired && brokenOff(d.last) },
	},
	{
		Rule{
			"not_polled", HopDevice, false,
			Text{"{device} did not poll while the call rang, so nobody took the call out of its mailbox.", "呼び出し中に{device}からのポーリングがなかったため、着信が取得されませんでした。"},
			"a delivery in a mailbox that expired",
			Text{"The app was not running or had no network; look at proxies that hold polls back.", "アプリの未起動や通信断が考えられます。ポーリングを妨げるプロキシもご確認ください。"},
		},
		func(d *device) bool { return d.polls() && d.state() == bell.DeliveryExpired },
	},
	{
		Rule{
			"not_polled_before_end", HopDevice, false,
			Text{"The call was over {ended} after Notify, before {device} polled for it.", "{device}がポーリングする前に、Notifyの{ended}後に通話が終了しました。"},
			"a delivery in a mailbox that was withdrawn",
			Text{"Let the app keep a poll open all the time, and begin the next one at once.", "アプリが常にポーリングを維持し、直ちに次のポーリングを開始するようにしてください。"},
		},
		func(d *device) bool { return d.polls() && d.state() == bell.DeliveryWithdrawn },
	},
	{
		Rule{
			"queued_too_long", HopServer, false,
			Text{"Nothing had been sent to {device} when the ring was over: the delivery waited in this server, or the server was not running.", "呼び出し時間の終了まで{device}への送信が行われませんでした。サーバー内での待機、またはサーバーの停止が原因です。"},
			"a push that expired without an attempt",
			Text{"Look at the load of this server, at what a policy hook takes, at what {provider} takes at once, and at when the server was started.", "サーバーの負荷、ポリシーフックの応答時間、{provider}の同時送信数、サーバーの起動時刻をご確認ください。"},
		},
		func(d *device) bool { return d.state() == bell.DeliveryExpired },
	},
	{
		Rule{
			"withdrawn", HopCaller, false,
			Text{"The call was over {ended} after Notify, before the push for {device} was taken.", "{device}宛てのプッシュが受け付けられる前に、Notifyの{ended}後に通話が終了しました。"},
			"a push that was withdrawn, and no refusal",
			Text{"Nothing has to be repaired if the caller hung up at once; else look at the attempts' times.", "発信者が直ちに取り消した場合は対応不要です。それ以外は送信履歴の時刻をご確認ください。"},
		},
		func(d *device) bool { return d.state() == bell.DeliveryWithdrawn },
	},
}

// note makes a rule of devices that were left out.
func note(code Code, hop Hop, why bell.NoteWhy, sentence, fix Text) deviceRule {
	r := Rule{code, hop, false, sentence, "a note that the device was left out: " + string(why), fix}
	return deviceRule{r, func(d *device) bool { return d.d == nil && d.note.Why == why }}
}

// leftOutRules are about devices that were left out when the call came in.
var leftOutRules = []deviceRule{
	note("forgotten", HopDevice, bell.NoteForgotten,
		Text{"The push token of {device} had been removed at {since}, because its provider said {held_for}.", "{device}のプッシュトークンは、{held_for}の応答により{since}に削除されていました。"},
		Text{"Have {callee} open the app, or install it again: it then registers a new push token.", "アプリを開くか再インストールするよう、{callee}にご案内ください。新しいプッシュトークンが登録されます。"}),
	note("never_said_how", HopApp, bell.NoteNoChannel,
		Text{"{device} had signed in, but never said how it can be reached.", "{device}はサインイン済みですが、通知方法を登録していませんでした。"},
		Text{"Look at the app: it has to call update_notification_token with a push token, or to poll.", "アプリがプッシュトークン付きでupdate_notification_tokenを呼ぶか、ポーリングする必要があります。"}),
	note("sign_in_expired", HopDevice, bell.NoteExpired,
		Text{"The sign-in of {device} had ended at {since}, so it could not poll for calls any more.", "{device}のサインインは{since}に期限切れとなり、着信をポーリングできませんでした。"},
		Text{"Have {callee} sign in again, or raise app_token_lifetime.", "再度サインインするよう{callee}にご案内いただくか、app_token_lifetimeを延長してください。"}),
	note("suspended", HopDevice, bell.NoteSuspended,
		Text{"{device} had been suspended since {since}, because its provider said {held_for}; others were rung.", "{device}は{held_for}により{since}から一時停止中のため、他の端末を鳴動させました。"},
		Text{"It is tried again by itself later; opening the app registers a new token at once.", "後ほど自動的に再開します。アプリを開くと新しいトークンが登録されます。"}),
	note("too_many_devices", HopServer, bell.NoteTooMany,
		Text{"{device} was left out: {callee} has more devices than are rung for one call.", "{callee}の端末数が1通話あたりの上限を超えているため、{device}は対象外でした。"},
		Text{"Remove devices that are not used any more.", "使用していない端末を削除してください。"}),
}
