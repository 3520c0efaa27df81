package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/planet"
)

// newDeviceCommand makes "planetbell device".
func newDeviceCommand(admin *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "device",
		Short: "List, add and remove devices",
		Args:  noArgs,
		RunE:  showHelp,
	}
	admin.add(cmd)
	cmd.AddCommand(newDeviceListCommand(admin), newDeviceAddCommand(admin), newDeviceRemoveCommand(admin))
	return cmd
}

func newDeviceListCommand(admin *adminFlags) *cobra.Command {
	var who selection
	var channel, after string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List devices, the oldest first",
		Example: "  planetbell device list --project main --user bob",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			query, err := who.query(cmd.Context(), client)
			if err != nil {
				return err
			}
			for name, value := range map[string]string{"channel": channel, "after": after} {
				if value != "" {
					query.Set(name, value)
				}
			}
			list := console.DeviceList{Devices: []console.Device{}}
			list.Next, err = pages(query, "after", who.limit, func() (int, string, error) {
				page, err := client.Devices(cmd.Context(), query)
				list.Devices = append(list.Devices, page.Devices...)
				return len(page.Devices), page.Next, err
			})
			if err != nil {
				return err
			}
			return admin.showDevices(cmd, list)
		},
	}
	who.add(admin, cmd, 100)
	cmd.Flags().StringVar(&channel, "channel", "", "only with this channel: "+channelNames())
	cmd.Flags().StringVar(&after, "after", "", "begin after the device with this ID")
	complete(cmd, "channel", fixed(channelList()...))
	complete(cmd, "after", admin.deviceIDs)
	return cmd
}

func (a *adminFlags) showDevices(cmd *cobra.Command, list console.DeviceList) error {
	if a.json {
		return printJSON(cmd.OutOrStdout(), list)
	}
	if len(list.Devices) == 0 {
		_, err := fmt.Fprintln(cmd.ErrOrStderr(), "There is no such device. Devices appear when an app registers, or with planetbell device add.")
		return err
	}
	now := a.now()
	rows := [][]string{{"ID", "USER", "ENVIRONMENT", "CHANNEL", "PUSH TOKEN", "APP", "CAN RING", "LAST SEEN"}}
	for i := range list.Devices {
		d := &list.Devices[i]
		rows = append(rows, []string{
			d.ID, d.ServiceID + "/" + d.UserID, string(d.Environment), channelOf(d), cmp.Or(d.PushTokenFingerprint, "-"),
			appOf(d), canRing(d, now), moment(now, d.LastSeenAt),
		})
	}
	if err := table(cmd.OutOrStdout(), rows); err != nil {
		return err
	}
	if list.Next != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "There are more: add --after %s, or a higher --limit.\n", clean(list.Next))
	}
	return nil
}

// pushChannels are the channels of devices that can be added.
var pushChannels = []string{string(bell.APNsVoIP), string(bell.APNsAlert), string(bell.FCM), string(bell.WebPush)}

// newDeviceFlags are the flags of "device add".
type newDeviceFlags struct {
	console.NewDevice
	channel   string
	token     string
	tokenFile string
}

func newDeviceAddCommand(admin *adminFlags) *cobra.Command {
	var in newDeviceFlags
	cmd := &cobra.Command{
		Use:   "add --project NAME --user ID --channel CHANNEL --push-token-file FILE",
		Short: "Add a device for a user",
		Long: `Add a device that did not register itself, for example to try a push credential. A
device that later registers with the same push token takes its place.

The push token is read from a file, or from standard input with --push-token-file -, so
that it is not kept in the shell's history nor shown in the list of processes.`,
		Example: `  planetbell device add --project main --user bob --channel apns_voip --apns-server sandbox --push-token-file token.txt
  pbpaste | planetbell device add --project main --user bob --channel fcm --push-token-file -`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			request, err := in.request(cmd)
			if err != nil {
				return err
			}
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			device, err := client.AddDevice(cmd.Context(), request)
			if err != nil {
				return explain(cmd.Context(), client, in.Project, err)
			}
			if admin.json {
				return printJSON(cmd.OutOrStdout(), device)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Added device %s of %s: %s, push token %s.\n",
				clean(device.ID), clean(device.ServiceID+"/"+device.UserID), clean(channelOf(&device)), clean(device.PushTokenFingerprint))
			return err
		},
	}
	in.add(admin, cmd)
	return cmd
}

func (in *newDeviceFlags) add(admin *adminFlags, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&in.Project, "project", "", "the project, by its name in the configuration (required)")
	flags.StringVar(&in.UserID, "user", "", "the user that the device belongs to (required)")
	flags.StringVar(&in.channel, "channel", "", "how the device is reached: apns_voip, apns_alert, fcm or web_push (required)")
	flags.StringVar(&in.tokenFile, "push-token-file", "", "file with the push token, or - for standard input")
	flags.StringVar(&in.token, "push-token", "", "the push token itself; other users of this machine can see it, so better use --push-token-file")
	flags.StringVar(&in.APNsServer, "apns-server", "", "APNs environment of the token: production or sandbox; without it, production is taken")
	flags.StringVar(&in.AppType, "app-type", "", "what the app is, such as IOS or ANDROID; chooses between several credentials")
	flags.StringVar(&in.AppID, "app-id", "", "bundle ID or package name; chooses between several credentials")
	cmd.MarkFlagsMutuallyExclusive("push-token", "push-token-file")
	complete(cmd, "project", admin.projectNames)
	complete(cmd, "user", admin.userIDs)
	complete(cmd, "channel", fixed(pushChannels...))
	complete(cmd, "apns-server", fixed(string(bell.APNsProduction), string(bell.APNsSandbox)))
	complete(cmd, "app-type", fixed("IOS", "ANDROID", "DESKTOPMAC", "DESKTOPWIN"))
	for _, name := range []string{"app-id", "push-token"} {
		complete(cmd, name, cobra.NoFileCompletions)
	}
}

// request checks the flags and reads the push token.
func (in *newDeviceFlags) request(cmd *cobra.Command) (console.NewDevice, error) {
	request := in.NewDevice
	request.Channel = bell.Channel(in.channel)
	switch {
	case request.Project == "" || request.UserID == "" || in.channel == "":
		return request, usageError(cmd, errors.New("say whose device it is and how it is reached: --project NAME --user ID --channel CHANNEL"))
	case !slices.Contains(pushChannels, in.channel):
		return request, usageError(cmd, fmt.Errorf("--channel %s: want apns_voip, apns_alert, fcm or web_push; a polling device registers itself", in.channel))
	case in.token != "":
		request.PushToken.Secret = planet.Secret(strings.TrimSpace(in.token))
		fmt.Fprintln(cmd.ErrOrStderr(), "Note: --push-token leaves the token in the shell's history; --push-token-file does not.")
	case in.tokenFile != "":
		token, err := readSecretFile(in.tokenFile, cmd.InOrStdin())
		if err != nil {
			return request, fmt.Errorf("--push-token-file: %w", err)
		}
		request.PushToken.Secret = token
	default:
		return request, usageError(cmd, errors.New("give the push token with --push-token-file FILE, or - for standard input"))
	}
	return request, nil
}

func newDeviceRemoveCommand(admin *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:               "remove ID...",
		Short:             "Forget devices",
		Long:              "Forget devices by their IDs, as planetbell device list shows them. They ring no more\nuntil they register again.",
		Args:              usage(cobra.MinimumNArgs(1), "give at least one device ID, as planetbell device list shows it"),
		ValidArgsFunction: admin.deviceIDs,
		RunE: func(cmd *cobra.Command, ids []string) error {
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			removed, problems := []string{}, []error(nil)
			for _, id := range ids {
				var refused *refusal
				err := client.RemoveDevice(cmd.Context(), id)
				switch {
				case errors.As(err, &refused):
					problems = append(problems, fmt.Errorf("device %.40s: %w", clean(id), err))
					continue
				case err != nil:
					return errors.Join(append(problems, err)...) // the next would fail alike
				}
				removed = append(removed, id)
				if !admin.json {
					fmt.Fprintf(cmd.OutOrStdout(), "Removed device %s.\n", clean(id))
				}
			}
			if admin.json {
				problems = append(problems, printJSON(cmd.OutOrStdout(), map[string][]string{"removed": removed}))
			}
			return errors.Join(problems...)
		},
	}
}

func channelList() []cobra.Completion {
	var names []cobra.Completion
	for _, c := range console.Channels() {
		names = append(names, string(c))
	}
	return names
}

func channelNames() string { return strings.Join(channelList(), ", ") }

// channelOf is a device's channel with its APNs environment.
func channelOf(d *console.Device) string {
	text := cmp.Or(string(d.Channel), "none yet")
	if d.APNsServer != "" {
		text += " " + string(d.APNsServer)
	}
	if d.APNsServerGuessed {
		text += " (guessed)"
	}
	return text
}

func appOf(d *console.Device) string {
	parts := []string{}
	for _, part := range []string{d.AppType, d.AppVersion, d.AppID} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return cmp.Or(strings.Join(parts, " "), "-")
}

// canRing says whether a call would be delivered to a device, and if not by the push
// provider's word, why.
func canRing(d *console.Device, now time.Time) string {
	switch {
	case !d.Reachable && !d.ForgottenAt.IsZero():
		return "no, push token removed: " + d.ForgottenFor
	case !d.Reachable:
		return "no"
	case now.Before(d.SuspendedUntil):
		return "only if alone, " + relative(now, d.SuspendedUntil) + " again: " + d.SuspendedFor
	}
	return "yes"
}
