package doctor

// fault is what follows from something that is wrong.
type fault struct {
	level Level
	fix   string
}

// faults is the one table of what can be wrong. docs/doctor.md has a row for each; a test
// holds the two together.
var faults = map[string]fault{
	"config-invalid": {Error, "Correct the setting; config.example.yaml explains it, and `planetbell config check` shows what is in force."},
	"config-warning": {Warning, "Change the setting, unless it is meant so."},
	"out-of-time":    {Error, "Look for what does not answer, and ask again with --only and a longer --timeout."},

	"data-dir":        {Error, "Let the user that runs planetbell write there, or choose another folder (data_dir)."},
	"disk-space":      {Warning, "Free some space, or move data_dir: a full disk keeps calls from being recorded."},
	"file-mode":       {Warning, "`chmod 600` the file, and let it belong to the user that runs planetbell."},
	"file-limit":      {Warning, "Raise the limit (LimitNOFILE in systemd, ulimit -n, --ulimit nofile of a container), or lower limits.long_polls."},
	"port-taken":      {Error, "Stop the other program (`ss -ltnp` names it), or choose another port."},
	"port-forbidden":  {Error, "Choose a port above 1023, or allow it (CAP_NET_BIND_SERVICE)."},
	"port-address":    {Error, "Name an address of this machine, or leave the host empty for all."},
	"admin-exposed":   {Warning, "Listen on 127.0.0.1, or on an address that only operators reach; with a token and TLS."},
	"database-down":   {Error, "Check that the database runs, database.path or database.url, and the network between."},
	"database-newer":  {Error, "Use the newer planetbell that wrote it, or restore a backup."},
	"database-ahead":  {Warning, "Put the newer planetbell back soon; this one works beside it for one release."},
	"database-older":  {Warning, "Make a backup (`planetbell backup`); the next start, or `planetbell migrate`, brings it up to date."},
	"database-moving": {Error, "Run `planetbell migrate-data` again, to its end."},
	"database-slow":   {Warning, "Look for a slow or shared disk, or a database far away: each callback waits for one commit."},
	"database-unsafe": {Error, "Switch it on, in postgresql.conf, for the database user or in database.url: as it is, calls that were answered 200 can be lost."},
	"database-pool":   {Warning, "Raise max_connections of the server, or lower pool_max_conns in database.url: all nodes together must fit."},
	"bus-down":        {Error, "Check bus.url (without one: database.url), the user's rights, and whether a pooler in transaction mode stands between."},

	"clock-off":     {Warning, "Switch time synchronisation on (timedatectl set-ntp true, or chrony)."},
	"clock-wrong":   {Error, "Set the clock and switch time synchronisation on: tokens for LINE Planet, Apple and Google are dated with it."},
	"clock-unknown": {Warning, "Let this machine reach one of the hosts, or check the clock by hand."},

	"line-placeholder": {Error, "Put in the values from the LINE Planet Console."},
	"line-swapped":     {Error, "The API secret is the one of 64 hexadecimal characters; the API key is the other, longer one."},
	"line-secret":      {Error, "Copy api_key and api_secret again from the LINE Planet Console."},
	"line-shared":      {Warning, "Each environment and service has a pair of its own: copy the right one from the Console."},
	"line-host":        {Warning, "Leave server_api_url empty, or name the host of the project's environment."},
	"line-refused":     {Error, "Copy api_key and api_secret again from the Console, of this very environment: Evaluation and Real have pairs of their own."},
	"line-forbidden":   {Error, "Compare service_id and environment with those that the Console shows beside the API key."},
	"line-unreachable": {Error, "Allow outgoing TCP to port 443 of the Server API's host; check DNS, and HTTPS_PROXY and NO_PROXY."},
	"line-unwell":      {Warning, "Ask again later; if it stays, ask LINE with the time of this check."},

	"apns-credential":  {Error, "Take the .p8 as Apple gave it, with its key ID and team ID; or export the certificate again with its key."},
	"apns-expired":     {Error, "Make a new push certificate in the developer account, or better a signing key, which does not expire."},
	"apns-expires":     {Warning, "Make a new push certificate in the developer account before that day, or better a signing key."},
	"apns-key":         {Error, "Compare key_id and team_id with the developer account (Keys, Membership); if the key was revoked, make a new one."},
	"apns-environment": {Error, "Name only the environments that the key is for (apns[].servers), and add a key for the other."},
	"apns-topic":       {Error, "Check bundle_id; and in the developer account the topics that the key or certificate may push."},
	"apns-clock":       {Error, "Set this machine's clock: the provider token is dated with it, and may be an hour old at most."},
	"apns-forbidden":   {Error, "Look at the developer account: its membership, its agreements, and the rights of the key."},
	"apns-unreachable": {Error, "Allow outgoing TCP to port 443 of the APNs server; check DNS, and HTTPS_PROXY and NO_PROXY."},
	"apns-tls":         {Error, "Install current CA certificates; take out what opens TLS on the way; a push certificate may have been revoked."},
	"apns-unwell":      {Warning, "Ask again later; Apple's system status page tells of outages."},
	"apns-strange":     {Error, "Check production_url and sandbox_url, and what stands between this machine and Apple."},

	"fcm-credential":  {Error, "Download the service account's file again: Firebase console, Project settings, Service accounts."},
	"fcm-project":     {Warning, "Make a service account in the project that the Android app is registered in."},
	"fcm-grant":       {Error, "Set this machine's clock; if it is right, the key was revoked: download a new one from the Firebase console."},
	"fcm-refused":     {Error, "Download a new key of the service account, and see in the Google Cloud console that the account is enabled."},
	"fcm-permission":  {Error, "Switch on the Firebase Cloud Messaging API (V1) in this project, give the account the role that may send (cloudmessaging.messages.create), and check that project_id is the app's project."},
	"fcm-unknown":     {Error, "Check project_id in the service account's file, and base_url."},
	"fcm-unreachable": {Error, "Allow outgoing TCP to port 443 of oauth2.googleapis.com and fcm.googleapis.com; check DNS, and HTTPS_PROXY and NO_PROXY."},
	"fcm-tls":         {Error, "Install current CA certificates; take out what opens TLS on the way."},
	"fcm-unwell":      {Warning, "Ask again later; Firebase's status page tells of outages."},
	"fcm-strange":     {Error, "Check base_url, and what stands between this machine and Google."},

	"web-push-keys":        {Error, "Make a new pair, unless browsers have subscribed: a change of the key makes all of them subscribe again."},
	"web-push-subject":     {Error, "Give a mailto: address or an https: URL that push services can write to; Apple refuses localhost and spaces."},
	"web-push-hosts":       {Warning, "Allow only hosts of push services, such as fcm.googleapis.com and *.push.apple.com."},
	"web-push-unreachable": {Error, "Allow outgoing TCP to port 443 of the push services, and check DNS. No proxy is used for them, whatever HTTPS_PROXY says."},
	"web-push-private":     {Error, "Check the host and DNS; name the address in web_push.allow_private if it is meant."},

	"public-unset":       {Warning, "Set public.base_url to what is registered in the LINE Planet Console."},
	"public-dns":         {Error, "Add the name to the public DNS, or correct public.base_url."},
	"public-private":     {Warning, "Use a name that leads to a public address; LINE Planet cannot reach this one."},
	"public-plain":       {Warning, "Use https: callbacks carry the callback secret and key material of calls."},
	"public-unreachable": {Error, "Check that proxy and server run, and that the firewall lets the port in."},
	"tls-name":           {Error, "Get a certificate for the name in public.base_url."},
	"tls-expired":        {Error, "Renew the certificate, and find out why that did not happen by itself."},
	"tls-expires":        {Warning, "Renew the certificate, and see that this happens by itself."},
	"tls-chain":          {Error, "Serve a certificate of a public authority with its full chain (fullchain.pem), not the last certificate only."},
	"tls-failed":         {Error, "Let the server or the proxy speak TLS 1.2 or newer at that address."},

	"callbacks-missing":   {Error, "Let the proxy pass /cb/ unchanged to planetbell; check the path in public.base_url."},
	"callbacks-other":     {Error, "Let public.base_url lead to the server of this configuration: another one answers, or the running one was started with another."},
	"callbacks-redirect":  {Error, "Register and configure the address to which it redirects: LINE Planet need not follow."},
	"callbacks-failing":   {Error, "Look at the log of the server and of the proxy in front; LINE Planet gets the same answer, and ends calls."},
	"callbacks-forbidden": {Warning, "Ask from a machine that callbacks.allow_from names; LINE Planet's addresses must be in it, all of them."},
	"callbacks-slow":      {Warning, "Look for what holds the proxy or the server up: a callback should be answered in 300 ms."},
	"request-line":        {Error, "Let the proxy take request lines of 64 KB, and let no firewall look at /cb/. nginx: large_client_header_buffers 4 128k. HAProxy: tune.bufsize 131072. Apache: LimitRequestLine 65536. An AWS ALB stops at 16 KB: use a network load balancer."},

	"endpoint-unreachable": {Error, "Check the address, DNS and the firewall. Events are told from this machine without a proxy; the policy hook and members_url go by way of HTTPS_PROXY."},
	"endpoint-tls":         {Error, "Serve a valid certificate with its chain, or name its authority in ca_file."},
	"endpoint-private":     {Error, "Name the address in webhooks.allow_private if it is meant."},
	"endpoint-failing":     {Warning, "Look at the endpoint's own log."},
}
