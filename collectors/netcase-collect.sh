#!/bin/sh
# netcase-collect.sh: collects the network evidence of one Linux node into one archive.
# One POSIX sh file (dash, bash, mksh, yash, busybox), no dependency beyond a base system, read-only on the host.
# What is collected, and why, is listed in docs/collector.md; the format is "netcase bundle v1".
#
# Conventions: POSIX sh has no `local`, so every name is global and starts with nc_ (functions that run as an
# item start with do_). A function that yields a string leaves it in a documented variable: a command
# substitution would cost a fork for each of some thousand calls.
# shellcheck disable=SC2317,SC2329 # the do_* functions are called through the item table
# shellcheck disable=SC2034 # the last name of a `read` takes the rest of the line
# shellcheck disable=SC2016 # command texts for the records, and awk programs

nc_version=0.1.0
nc_tail_limit=1048576   # bytes kept of a pod log

nc_help() {
  cat <<'EOF'
usage: sh netcase-collect.sh [options]

Collects network evidence of this node (read-only) into one archive
netcase_<node>_<UTC>_<hex>.tar.gz and prints its path on stdout.

  -o DIR          write the archive into DIR (default: the current directory)
  -o -            write the archive itself to stdout
  --node NAME     name of the node in the file name (default: the host name)
  --quick         leave out logs, NIC and queue details and most /proc tables of namespaces
  --full          the whole of /proc/sys/net instead of the usual sysctls
  --conntrack     also the first 20000 connection tracking rows
  --api           also this node's object from the Kubernetes API, with the kubelet's kubeconfig;
                  --api=admin: nodes, services, endpoint slices, two config maps, with admin.conf
  --unprivileged  go on without root and collect what may be read
  --ref-epoch N   time of a reference clock in seconds, stored for comparing nodes
  --version       print the version
  --help          print this text

exit codes:
  0  complete           every item was collected, is not there, or was guarded
  1  partial            the bundle is valid; an item failed, timed out, was cut or denied
  2  usage              an option was not understood
  3  not root           and --unprivileged was not given
  4  disk               no space or no permission to write the bundle
  5  interrupted        TERM, INT or HUP; what was collected so far was still packed

Environment: TMPDIR, where the spool directory is made (removed at the end).
stdout: the path only (or the archive). stderr: messages, and `sha256  name` of the archive.
EOF
}

# ---------------------------------------------------------------- small tools

# One line of text to stdout; echo would interpret backslashes in some shells.
if [ -n "${KSH_VERSION-}" ] && (print -r -- x) >/dev/null 2>&1; then
  # mksh has no printf of its own: a fork for each line of each record would be felt.
  # shellcheck disable=SC3044 # only mksh comes here
  nc_put() { print -r -- "$1"; }
else
  nc_put() { printf '%s\n' "$1"; }
fi

nc_say() { nc_put "netcase-collect: $1" >&2; }

nc_die() { # CODE TEXT
  nc_say "$2"
  exit "$1"
}

# nc_cs: hundredths of a second since boot, without a fork (`date +%N` is not portable).
nc_now() {
  read -r nc_up nc_up_rest </proc/uptime
  # The leading 1 keeps "08" from being read as a bad octal number.
  nc_cs=$((${nc_up%.*} * 100 + 1${nc_up#*.} - 100))
}

nc_log() {
  nc_now
  nc_put "$(((nc_cs - nc_cs0) * 10)) $1" >>"$nc_tmp/log"
}

nc_have() { command -v "$1" >/dev/null 2>&1; }

# nc_var: $1 as part of a variable name, empty if it cannot be one.
nc_var_of() {
  nc_var=$1
  while :; do
    case $nc_var in
      *-*) nc_var=${nc_var%%-*}_${nc_var#*-} ;;
      *[!A-Za-z0-9_]*) nc_var=; return 0 ;;
      *) return 0 ;;
    esac
  done
}

# nc_bin: the file of a tool. busybox sh prefers its own applets, but the node's `ip` is the one to ask.
nc_which() {
  nc_bin=$1
  nc_var_of "$1"
  [ -n "$nc_var" ] || return 0
  eval "nc_bin=\${nc_bin_$nc_var-}"
  [ -z "$nc_bin" ] || return 0
  nc_bin=$1
  nc_w_rest=$PATH:
  while [ -n "$nc_w_rest" ]; do
    nc_w_dir=${nc_w_rest%%:*}
    nc_w_rest=${nc_w_rest#*:}
    if [ -n "$nc_w_dir" ] && [ -f "$nc_w_dir/$1" ] && [ -x "$nc_w_dir/$1" ]; then
      nc_bin=$nc_w_dir/$1
      break
    fi
  done
  eval "nc_bin_$nc_var=\$nc_bin"
}

# nc_j: the JSON string of $1. Plain ASCII costs no fork; the rest goes byte by byte through awk.
nc_plain='*[!][A-Za-z0-9 _./:=@,+%#()~{}<>|;&!?$^*'"'"'-]*'
nc_json() {
  # shellcheck disable=SC2254 # a pattern on purpose
  case $1 in
    $nc_plain) ;;
    *) nc_j="\"$1\""; return ;;
  esac
  nc_j=$(printf '%s' "$1" | od -An -v -tu1 | awk '
    # Valid UTF-8 becomes \u escapes (ASCII output survives every locale), an invalid byte \u00XX.
    function u(c) { return sprintf("\\u%04x", c) }
    { for (i = 1; i <= NF; i++) b[++n] = $i + 0 }
    END {
      s = ""
      for (i = 1; i <= n; i++) {
        c = b[i]
        if (c == 34 || c == 92) { s = s "\\" sprintf("%c", c); continue }
        if (c < 32 || c == 127) { s = s u(c); continue }
        if (c < 128) { s = s sprintf("%c", c); continue }
        k = 0; v = 0; low = 0
        if (c >= 194 && c <= 223) { k = 1; v = c - 192; low = 128 }
        else if (c >= 224 && c <= 239) { k = 2; v = c - 224; low = 2048 }
        else if (c >= 240 && c <= 244) { k = 3; v = c - 240; low = 65536 }
        good = k > 0 && i + k <= n
        for (m = 1; good && m <= k; m++) {
          if (b[i + m] < 128 || b[i + m] > 191) good = 0
          v = v * 64 + b[i + m] - 128
        }
        if (!good || v < low || v > 1114111 || (v >= 55296 && v <= 57343)) { s = s u(c); continue }
        i += k
        if (v < 65536) s = s u(v)
        else { v -= 65536; s = s u(55296 + int(v / 1024)) u(56320 + v % 1024) }
      }
      printf "\"%s\"", s
    }')
  # No awk or od: better an empty string than broken JSON.
  [ -n "$nc_j" ] || nc_j='""'
}

# nc_argv: the JSON array of the arguments.
nc_json_array() {
  nc_argv=
  for nc_a in "$@"; do
    nc_json "$nc_a"
    nc_argv="$nc_argv,$nc_j"
  done
  nc_argv="[${nc_argv#,}]"
}

# ---------------------------------------------------------------- running one command

# Sends SIGNAL to a child of this script and to all its descendants. /proc/PID/stat is read because neither
# process groups (no job control in sh) nor /proc/PID/task/*/children (a kernel option) can be relied on.
nc_kill_tree() { # PID SIGNAL PARENT
  { read -r nc_k_line <"/proc/$1/stat"; } 2>/dev/null || return 0
  nc_k_line=${nc_k_line##*) }
  nc_k_parent=${nc_k_line#* }
  # A pid that is no longer our child has been given to somebody else.
  [ "${nc_k_parent%% *}" = "$3" ] || return 0
  nc_k_list=" $1 "
  nc_k_more=1
  # Stopped first: a process that forks between the look and the signal would leave an orphan.
  kill -STOP "$1" 2>/dev/null
  while [ "$nc_k_more" = 1 ]; do
    nc_k_more=0
    for nc_k_file in /proc/[0-9]*/stat; do
      nc_k_pid=${nc_k_file#/proc/}
      nc_k_pid=${nc_k_pid%/stat}
      case $nc_k_list in *" $nc_k_pid "*) continue ;; esac
      { read -r nc_k_line <"$nc_k_file"; } 2>/dev/null || continue
      nc_k_line=${nc_k_line##*) }
      nc_k_parent=${nc_k_line#* }
      nc_k_parent=${nc_k_parent%% *}
      case $nc_k_list in *" $nc_k_parent "*)
          kill -STOP "$nc_k_pid" 2>/dev/null
          nc_k_list="$nc_k_list$nc_k_pid "
          nc_k_more=1
          ;;
      esac
    done
  done
  # shellcheck disable=SC2086 # a list of pids
  kill -"$2" $nc_k_list 2>/dev/null
  # shellcheck disable=SC2086
  kill -CONT $nc_k_list 2>/dev/null
  return 0
}

# Is it a child of ours that still runs? A zombie does not.
nc_alive() { # PID
  { read -r nc_k_line <"/proc/$1/stat"; } 2>/dev/null || return 1
  case ${nc_k_line##*) } in
    Z* | X*) return 1 ;;
    ?" $nc_pid "*) return 0 ;;
    *) return 1 ;;
  esac
}

# The one watchdog of the run, a background process that wakes each second. timeout(1) is not used: three
# dialects, absent on some nodes, and it cannot limit a shell function.
nc_watchdog() {
  trap '' INT HUP
  while sleep 1; do
    if ! kill -0 "$nc_pid" 2>/dev/null; then
      # The collector itself was killed: nobody else removes the spool.
      rm -rf "$nc_spool"
      exit
    fi
    { read -r nc_w_pid nc_w_end <"$nc_tmp/cur"; } 2>/dev/null || continue
    [ "$nc_w_pid" != 0 ] || continue
    nc_now
    [ "$nc_cs" -ge "$nc_w_end" ] || continue
    # Interrupted, the child gone, and still waiting for it: the signal came just before the `wait`. Once more.
    if [ "$nc_w_end" = 0 ] && ! nc_alive "$nc_w_pid"; then
      kill -TERM "$nc_pid" 2>/dev/null
      continue
    fi
    nc_put "$nc_w_pid" >"$nc_tmp/killed"
    if [ "$nc_cs" -ge "$((nc_w_end + 200))" ]; then nc_w_sig=KILL; else nc_w_sig=TERM; fi
    nc_kill_tree "$nc_w_pid" "$nc_w_sig" "$nc_pid"
  done
}

# Runs a command or a do_* function with a time limit and a limit on what it may write. Sets nc_rc, nc_ms, nc_size
# (bytes in OUT), nc_killed (1: by the watchdog). The command is a background child because `wait` is the only thing a
# trap interrupts. It shares its output's file position with the shell, which tells the size without a process.
nc_run() { # SECONDS CAP_KIB OUT ERR COMMAND...
  nc_r_cap=$2 nc_r_out=$3 nc_r_err=$4
  nc_now
  nc_r_start=$nc_cs
  nc_r_end=$((nc_cs + $1 * 100))
  [ "$nc_r_end" -le "$nc_deadline" ] || nc_r_end=$nc_deadline
  shift 4
  case $1 in
    do_* | */*) ;;
    *)
      nc_which "$1"
      shift
      set -- "$nc_bin" "$@"
      ;;
  esac
  # `command`: of a special built-in that fails the shell would end.
  { command exec 8>"$nc_r_out"; } 2>/dev/null || { command exec 8>/dev/null; } 2>/dev/null
  (
    trap - TERM INT HUP PIPE
    # ulimit counts 512-byte blocks; it keeps the exit status, a pipe to head would not.
    ulimit -f "$((nc_r_cap * 2))" 2>/dev/null
    case $1 in
      do_*) "$@" ;;
      *) exec "$@" ;;
    esac
  ) >&8 8>&- 2>"$nc_r_err" </dev/null &
  nc_kid=$!
  nc_put "$nc_kid $nc_r_end" >"$nc_tmp/cur"
  # A signal between the fork and here found no child to end.
  if [ "$nc_stop" = 1 ]; then
    nc_interrupt
    nc_rc=143
  else
    wait "$nc_kid" 2>/dev/null
    nc_rc=$?
  fi
  # After a trap a second `wait` can block for good (bash loses the child's status), so look instead.
  if [ "$nc_stop" = 1 ]; then
    while nc_alive "$nc_kid"; do sleep 0.1 2>/dev/null || sleep 1; done
  fi
  nc_kid=
  nc_put '0 0' >"$nc_tmp/cur"
  nc_killed=0
  if [ -s "$nc_tmp/killed" ]; then
    nc_killed=1
    rm -f "$nc_tmp/killed"
  fi
  nc_now
  nc_ms=$(((nc_cs - nc_r_start) * 10))
  nc_size=0
  { read -r nc_r_pos nc_size </proc/self/fdinfo/8; } 2>/dev/null
  exec 8>&-
  # Written by a descriptor of its own, or a kernel that does not tell.
  case $nc_size in 0 | '' | *[!0-9]*) nc_bytes "$nc_r_out" ;; esac
}

# Is this the collector itself? A child of bash that is hit between its fork and the reset of its traps runs them
# all, the one on EXIT too, and $$ is the same in both. nc_me: the true pid.
nc_in_main() {
  read -r nc_me nc_k_line </proc/self/stat
  [ "$nc_me" = "$nc_pid" ]
}

# TERM, INT or HUP: end the running command, record the rest as skipped, pack what there is.
nc_interrupt() {
  nc_in_main || kill -KILL "$nc_me"
  nc_stop=1
  if [ -n "$nc_kid" ]; then
    nc_put "$nc_kid 0" >"$nc_tmp/cur"
    nc_kill_tree "$nc_kid" TERM "$nc_pid"
  fi
}

# nc_size: bytes of a file, 0 without one.
nc_bytes() {
  nc_size=0
  [ -s "$1" ] || return 0
  nc_size=$(wc -c <"$1")
  nc_size=$((nc_size + 0))
}

# ---------------------------------------------------------------- redaction

# A denylist over text that may hold secrets, the second line of defence: the first is not to collect them.
# Prints the text with [REDACTED] in the place of values; writes the number of replacements to the file `count`.
nc_redact_program='
# Where the value that starts at p ends (last character), and sets vs, its first character.
# Sets hide = 0 when there is nothing to hide.
function value(s, p, sep, quoted, opener, inside,    r, c, e, t, spaced) {
  spaced = 0
  while (substr(s, p, 1) ~ /[ \t]/) { p++; spaced = 1 }
  vs = p; hide = 1
  r = substr(s, p)
  if (r == "") { hide = 0; return p - 1 }
  if (match(r, /^\\*["\047]/)) {
    # A quoted value, perhaps inside a quoted string: ends with the same mark.
    t = substr(r, 1, RLENGTH); vs = p + RLENGTH; r = substr(s, vs)
    if (length(t) == 1) {
      for (e = 1; e <= length(r); e++) {
        c = substr(r, e, 1)
        if (c == "\\" && t == "\"") { e++; continue }
        if (c == t) break
      }
    } else {
      e = index(r, t); if (e == 0) e = length(r) + 1
    }
    return vs + e - 2
  }
  c = substr(r, 1, 1)
  if (c == "{") { hide = 0; return p - 1 }
  if (c == "[") {
    e = index(r, "]"); if (e == 0) e = length(r) + 1
    vs = p + 1
    return p + e - 2
  }
  if (quoted) { match(r, /^[^,}\] \t]*/); return p + RLENGTH - 1 }
  if (sep == ":" && !spaced) { hide = 0; return p - 1 }
  if (opener != "") { e = index(r, opener); if (e == 0) e = length(r) + 1; return p + e - 2 }
  if (inside) {
    # In a quoted string: to its end, or for name=value to the next blank.
    if (sep == ":") match(r, /^[^"\\]*/); else match(r, /^[^"\\ \t]*/)
    return p + RLENGTH - 1
  }
  if (sep == ":" || spaced || whole) return length(s)
  e = 1
  while (e <= length(r) && substr(r, e, 1) !~ /[ \t]/) { if (substr(r, e, 1) == "\\") e++; e++ }
  return p + e - 2
}
# One pass over a line for names that match re (looked for in s, or in lower case).
function names(s, re, fold,    out, l, key, p, q, e, v, sep, quoted, opener, c, chunk, par) {
  out = ""; par = 0
  while (1) {
    l = fold ? tolower(s) : s
    if (!match(l, re)) break
    p = RSTART; q = RSTART + RLENGTH; key = substr(l, p, RLENGTH)
    sep = substr(key, length(key), 1); quoted = key ~ /["\047][ \t]*.$/
    # Back to the start of the name, to see whether it stands right after a quote.
    e = p - 1
    while (e > 0 && substr(s, e, 1) ~ /[A-Za-z0-9_.-]/) e--
    c = e > 0 ? substr(s, e, 1) : ""
    opener = (c == "\"" || c == "\047") && !quoted ? c : ""
    if (opener == "\"" && e > 1 && substr(s, e - 1, 1) == "\\") opener = "\\\""
    chunk = substr(s, 1, p - 1); gsub(/\\./, "", chunk)
    par += gsub(/"/, "", chunk)
    whole = e == 0 && out == "" && fold != 2
    v = value(s, q, sep, quoted, opener, par % 2)
    if (quoted) par++
    l = tolower(substr(s, vs, v - vs + 1))
    gsub(/^[ \t]+|[ \t\r,]+$/, "", l)
    # Switches, references to a file or another object, and what is hidden already stay readable.
    if (key ~ /(file|dir|path|name|ttl|seconds|timeout)["\047\\]*[ \t]*[:=]$/) hide = 0
    if (l ~ /^(|true|false|null|none|nil|~|\||>|[|>][+-]|\[redacted\])$/) hide = 0
    if (hide) { out = out substr(s, 1, vs - 1) "[REDACTED]"; n++ }
    else { out = out substr(s, 1, v < q - 1 ? q - 1 : v); if (v < q - 1) v = q - 1 }
    chunk = substr(s, p, v - p + 1); gsub(/\\./, "", chunk); par += gsub(/"/, "", chunk)
    if (quoted) par--
    s = substr(s, v + 1)
  }
  return out s
}
# Replaces each match of re but its first keep characters and its last drop characters.
function each(s, re, keep, drop,    out) {
  out = ""
  while (match(s, re)) {
    out = out substr(s, 1, RSTART + keep - 1) "[REDACTED]" substr(s, RSTART + RLENGTH - drop, drop); n++
    s = substr(s, RSTART + RLENGTH)
  }
  return out s
}
BEGIN {
  tailkey = "[a-z0-9_.-]*[\\\\]*[\"\047]?[ \t]*[:=]"
  strong = "(passwo|passwd|passphrase|passcode|secret|token|credential|basicauth|api[_-]?key|private[_-]?key|access[_-]?key|shared[_-]?key|client-key-data|last-applied-configuration)"
  weak = "([a-z0-9_.-]key|auth|psk|pwd|pass|authorization|proxy-authorization)[\\\\]*[\"\047]?[ \t]*[:=]"
  env = "(KEY|PASS|PWD|TOKEN|SECRET|CRED|AUTH)[A-Z0-9_]*="
  # The name/value pairs of Kubernetes: "name":"DB_PASSWORD","value":"..."
  pair = "name[\\\\]*\"[ \t]*:[ \t]*[\\\\]*\"[a-z0-9_.-]*(pass|secret|token|cred|key|auth)[a-z0-9_.-]*[\\\\]*\"[ \t]*,[ \t]*[\\\\]*\"value[\\\\]*\"[ \t]*:"
  a = "[A-Za-z0-9]"; b = "[a-z0-9]"
  b6 = b b b b b b; b16 = b6 b6 b b b b
  boot = "[^A-Za-z0-9.]" b6 "\\." b16 "[^A-Za-z0-9.]"
}
{
  line = $0
  # A private key over several lines.
  if (pem) {
    if (line ~ /-----END/) pem = 0
    next
  }
  # The lines of a YAML block value.
  if (block >= 0 && NR > 1 && blocked) {
    match(line, /^[ \t]*/)
    if (line ~ /^[ \t]*$/ || RLENGTH > block) next
    blocked = 0
  }
  # One argument a line: the value follows its option.
  if (args && want) {
    want = 0
    if (line !~ /^-/ && line != "") { print "[REDACTED]"; n++; next }
  }
  if (args && tolower(line) ~ /^--?[a-z0-9-]*(password|passwd|secret|token|credential|-key|auth)$|^-t$/) { print line; want = 1; next }
  # TOML: everything in a registry auth or header table.
  if (line ~ /^[ \t]*\[/ && line !~ /=/) toml = line ~ /\.("?)(auth|headers?)("?)\]+/
  else if (toml && match(line, /^[^#=]*=[ \t]*/)) { print substr(line, 1, RLENGTH) "[REDACTED]"; n++; next }
  low = tolower(line)
  # YAML: "name: DB_PASSWORD" and on the next line "value: x".
  if (named && match(low, /^[ \t-]*"?value"?[ \t]*:[ \t]*/) && RLENGTH < length(line)) {
    comma = line ~ /,$/ ? "," : ""
    line = substr(line, 1, RLENGTH) (comma != "" || line ~ /"$/ ? "\"[REDACTED]\"" : "[REDACTED]") comma; low = tolower(line); n++
  }
  named = low ~ /^[ \t-]*"?name"?[ \t]*:.*(pass|secret|token|cred|key|auth)/
  if (line ~ /:\/\/[^\/ \t"\047]*@/) line = each(line, ":\\/\\/[^\\/ \t\"\047]*@", 3, 1)
  if (low ~ /bearer [a-z0-9]|basic [a-z0-9]/) line = each(each(line, "[Bb]earer [A-Za-z0-9._~+\\/=-]+", 7, 0), "[Bb]asic [A-Za-z0-9+\\/=][A-Za-z0-9+\\/=][A-Za-z0-9+\\/=][A-Za-z0-9+\\/=][A-Za-z0-9+\\/=][A-Za-z0-9+\\/=][A-Za-z0-9+\\/=][A-Za-z0-9+\\/=]+", 6, 0)
  if (line ~ /eyJ/) line = each(line, "eyJ[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]*", 0, 0)
  if (low ~ pair) line = names(line, pair, 1)
  if (low ~ strong) line = names(line, strong tailkey, 1)
  if (low ~ weak) line = names(line, weak, 1)
  if (line ~ env) line = names(line, env, 0)
  if ((" " line " ") ~ boot) { line = each(" " line " ", boot, 1, 1); line = substr(line, 2, length(line) - 2) }
  if (match(line, /-----BEGIN [A-Z ]*PRIVATE KEY/)) {
    p = RSTART; n++
    if (match(substr(line, p), /-----END[A-Z ]*-----/)) line = substr(line, 1, p - 1) "[REDACTED]" substr(line, p + RSTART + RLENGTH - 1)
    else if (match(substr(line, p + 5), /["\047]/)) line = substr(line, 1, p - 1) "[REDACTED]" substr(line, p + 4 + RSTART)
    else { line = substr(line, 1, p - 1) "[REDACTED]"; pem = 1 }
  }
  # A secret name with a block value (or, for a password, a value on the lines below).
  if (low ~ (strong "[a-z0-9_.-]*[\"\047]?:[ \t]*[|>][+-]?[ \t]*$") || low ~ /passw[a-z]*["\047]?:[ \t]*$/ || low ~ /[a-z0-9_.-]key["\047]?:[ \t]*[|>][+-]?[ \t]*$/) {
    match(line, /^[ \t]*/); block = RLENGTH; blocked = 1; n++
    line = line " [REDACTED]"
  }
  print line
}
END { print n + 0 >count }
'

# ---------------------------------------------------------------- records

# Collects one item, by the table below. Sets of variables that change the next items:
#   nc_skip  guard: reason why the next item is skipped (reset after it)
#   nc_off   user's choice: reason why the items are disabled (until reset)
#   nc_inst  what the * of the path stands for (until reset), nc_ns its namespace
#   nc_wash  1: redact although not marked S2 (until reset)
#   nc_alive_of/nc_dead: a daemon that did not answer once is not asked again
item() { # ID PATH TIMEOUT_S CAP_KIB SENSITIVITY HOW ARGUMENTS...
  nc_id=$1 nc_path=$2 nc_tmo=$3 nc_cap=$4 nc_sens=$5 nc_how=$6
  shift 6
  nc_status='' nc_reason='' nc_kind=cmd nc_argv='[]' nc_tool='' nc_more='' nc_errpath='' nc_red=0 nc_ms=0 nc_rcj=null
  nc_now
  nc_t=$(((nc_cs - nc_cs0) * 10))
  case $nc_path in
    *'*'*) if [ -n "$nc_inst" ]; then nc_place "$nc_inst"; fi ;;
  esac
  # No second namespace: each of its items is recorded once, as absent.
  case $nc_path in
    'netns/*/'*) nc_how=none; set -- absent 'no other network namespace was found' ;;
  esac
  # How the thing is got at: how it is shown (argv), and whether it can be run at all.
  case $nc_how in
    cmd)
      nc_json_array "$@"
      nc_need=$1
      # nsenter -t PID -n TOOL, nsenter --net=PATH TOOL: both tools are needed.
      if [ "$1" = nsenter ]; then
        nc_have nsenter || nc_status=missing nc_reason='tool not found in PATH: nsenter'
        if [ "$2" = -t ]; then nc_need=$5; else nc_need=$3; fi
      fi
      if [ -z "$nc_status" ] && ! nc_have "$nc_need"; then
        nc_status=missing nc_reason="tool not found in PATH: $nc_need"
      fi
      ;;
    fn)
      nc_json_array sh -c "$1"
      shift
      ;;
    cat)
      nc_json_array cat "$1"
      nc_readable "$1"
      set -- cat "$1"
      ;;
    file)
      nc_kind='file'
      nc_json "$1"
      nc_more="$nc_more,\"src\":$nc_j"
      nc_readable "$1"
      if [ -z "$nc_status" ]; then nc_stat "$1"; fi
      set -- cat "$1"
      ;;
    none)
      # The caller knows already: STATUS REASON
      nc_status=$1 nc_reason=$2
      ;;
  esac
  nc_now
  if [ "$nc_stop" = 1 ]; then nc_status=skipped nc_reason=interrupted
  elif [ -n "$nc_off" ]; then nc_status=disabled nc_reason=$nc_off
  elif [ -n "$nc_status" ]; then :
  elif [ -n "$nc_skip" ]; then nc_status=skipped nc_reason=$nc_skip
  elif [ "$nc_cs" -ge "$nc_deadline" ]; then nc_status=skipped nc_reason=deadline nc_partial=1 nc_late=true
  elif [ "$nc_total" -ge "$nc_total_max" ]; then nc_status=skipped nc_reason='size limit of the bundle' nc_partial=1
  fi
  nc_skip=
  if [ -n "$nc_status" ]; then
    nc_record
    return 0
  fi
  if [ "$nc_how" = cmd ]; then
    nc_ver "$nc_need"
    if [ "$1" = nsenter ]; then
      nc_which "$nc_need"
      # The tool behind nsenter by its path as well; the record keeps the plain names.
      if [ "$2" = -t ]; then
        nc_n_3=$3
        shift 5
        set -- nsenter -t "$nc_n_3" -n "$nc_bin" "$@"
      else
        nc_n_3=$2
        shift 3
        set -- nsenter "$nc_n_3" "$nc_bin" "$@"
      fi
    fi
  fi
  nc_collect "$@"
  nc_record
}

# Runs the item's command into its member file and judges the result.
nc_collect() {
  nc_dir=${nc_path%/*}
  [ "$nc_dir" != "$nc_path" ] || nc_dir=.
  [ -d "$nc_root/$nc_dir" ] || mkdir -p "$nc_root/$nc_dir" 2>/dev/null
  nc_out=$nc_root/$nc_path
  nc_to=$nc_out
  nc_toerr=$nc_out.err
  if [ "$nc_sens" = S2 ] || [ "$nc_wash" = 1 ]; then
    # Unredacted text never lies under the name of a member.
    nc_to=$nc_tmp/raw nc_toerr=$nc_tmp/raw.err
  fi
  nc_run "$nc_tmo" "$nc_cap" "$nc_to" "$nc_toerr" "$@"
  nc_item_rc=$nc_rc nc_item_ms=$nc_ms nc_item_killed=$nc_killed
  nc_rcj=$nc_item_rc
  nc_got=$nc_size
  nc_washed=0
  if [ "$nc_to" != "$nc_out" ]; then nc_clean; fi
  # A child that was ended before it opened its output left no file, but the record promises one.
  [ -e "$nc_out" ] || printf '' >"$nc_out"
  nc_ms=$nc_item_ms
  nc_total=$((nc_total + nc_got))
  nc_first=
  if [ -s "$nc_out.err" ]; then
    nc_errpath=$nc_path.err
    { IFS= read -r nc_first <"$nc_out.err"; } 2>/dev/null
  fi
  nc_word='' nc_words=''
  # A function may know better than its exit status.
  if [ -s "$nc_tmp/say" ]; then
    read -r nc_word nc_words <"$nc_tmp/say"
    rm -f "$nc_tmp/say"
  fi
  if [ "$nc_stop" = 1 ] && [ "$nc_item_rc" -gt 128 ]; then
    nc_status=failed nc_reason=interrupted
  elif [ "$nc_item_killed" = 1 ]; then
    nc_status=timeout nc_reason="no end after $((nc_item_ms / 1000)) s"
  elif [ "$nc_washed" = failed ]; then
    nc_status=failed nc_reason='redaction failed, the text was dropped'
  elif [ "$nc_got" -ge "$((nc_cap * 1024))" ]; then
    nc_status=truncated nc_reason="cut at $nc_cap KiB"
  elif [ -n "$nc_word" ]; then
    nc_status=$nc_word nc_reason=$nc_words
  elif [ "$nc_item_rc" = 0 ]; then
    nc_status=ok
  elif [ "$nc_item_rc" = 126 ]; then
    nc_status=denied nc_reason="${nc_first:-exit status 126}"
  elif [ "$nc_uid" != 0 ] && [ -s "$nc_out.err" ] &&
    grep -Eiq 'permi|denied|must be root|you are not root|superuser' "$nc_out.err"; then
    nc_status=denied nc_reason=$nc_first
  else
    nc_status=failed nc_reason="exit status $nc_item_rc${nc_first:+: $nc_first}"
  fi
}

# Raw output -> redacted member, and the same for stderr.
nc_clean() {
  # One argument a line is a format of its own: a value follows its option.
  case $nc_path in cmdline/*) nc_args=1 ;; *) nc_args=0 ;; esac
  nc_run 30 65536 "$nc_out" /dev/null awk -v args="$nc_args" -v count="$nc_tmp/count" "$nc_redact_program" "$nc_tmp/raw"
  if [ "$nc_rc" = 0 ]; then
    read -r nc_red <"$nc_tmp/count"
  else
    printf '' >"$nc_out"
    nc_washed=failed
  fi
  if [ -s "$nc_tmp/raw.err" ]; then
    nc_run 10 1024 "$nc_out.err" /dev/null awk -v args=0 -v count="$nc_tmp/count" "$nc_redact_program" "$nc_tmp/raw.err"
    [ "$nc_rc" = 0 ] || printf '' >"$nc_out.err"
  fi
}

# Fills in the * of nc_path. Names that are no safe member names get a number, the true one stays in the record.
nc_place() { # INSTANCE
  nc_json "$1"
  nc_more=",\"instance\":$nc_j"
  nc_p_head=${nc_path%%\**}
  nc_p_tail=${nc_path#*\*}
  nc_p_new=$nc_p_head$1$nc_p_tail
  case $1 in
    *[!A-Za-z0-9_.@+:%=,-]* | .*) nc_p_new= ;;
  esac
  if [ -z "$nc_p_new" ] || [ ${#nc_p_new} -gt 98 ]; then
    nc_odd=$((nc_odd + 1))
    case $nc_path in
      files/*) nc_p_new=files/_long/$nc_odd ;;
      *) nc_p_new=${nc_p_head}_$nc_odd$nc_p_tail ;;
    esac
  fi
  nc_path=$nc_p_new
}

# Sets nc_status when a file cannot be read: a file below a closed directory is denied, not absent.
nc_readable() {
  if [ -e "$1" ]; then
    if [ ! -f "$1" ]; then nc_status=skipped nc_reason="not a regular file: $1"
    elif [ ! -r "$1" ]; then nc_status=denied nc_reason="not readable: $1"
    fi
    return 0
  fi
  # Another user's processes show nothing below their directory: that is no proof of absence.
  case $1 in
    /proc/[0-9]*) if [ "$nc_uid" != 0 ]; then nc_status=denied nc_reason="no access to $1"; return 0; fi ;;
  esac
  nc_up_dir=$1
  while :; do
    nc_up_dir=${nc_up_dir%/*}
    [ -n "$nc_up_dir" ] || nc_up_dir=/
    [ ! -d "$nc_up_dir" ] || break
  done
  if [ -x "$nc_up_dir" ]; then
    nc_status=absent nc_reason="no such file: $1"
  else
    nc_status=denied nc_reason="no access to $nc_up_dir"
  fi
}

# Adds mode, owner, time and link target of a file to the record.
nc_stat() {
  if nc_s=$(stat -L -c '%a %u %Y' "$1" 2>/dev/null); then
    nc_s_mode=${nc_s%% *}
    nc_s=${nc_s#* }
    nc_more="$nc_more,\"mode\":\"$nc_s_mode\",\"uid\":${nc_s%% *},\"mtime\":${nc_s##* }"
  fi
  if [ -L "$1" ]; then
    nc_json "$(readlink "$1")"
    nc_more="$nc_more,\"linkTarget\":$nc_j"
  fi
}

# Appends the item's record. Sizes and hashes are filled in at the end, by one sha256sum for all members.
nc_record() {
  nc_records=$((nc_records + 1))
  case $nc_status in
    ok | failed | timeout | truncated) nc_member=$nc_path ;;
    *) nc_member=- ;;
  esac
  # Items of other statuses have no file, whatever the command printed.
  case $nc_status in
    ok) nc_ok=$((nc_ok + 1)) ;;
    failed | timeout | truncated | denied) nc_partial=1 ;;
  esac
  nc_json "$nc_path"
  nc_1="{\"id\":\"$nc_id\",\"path\":$nc_j$nc_more,\"kind\":\"$nc_kind\""
  [ "$nc_kind" = file ] || nc_1="$nc_1,\"argv\":$nc_argv"
  nc_1="$nc_1,\"ns\":\"$nc_ns\",\"sens\":\"$nc_sens\",\"status\":\"$nc_status\",\"rc\":$nc_rcj,\"t\":$nc_t,\"ms\":$nc_ms,"
  nc_2="\"redactions\":$nc_red"
  if [ -n "$nc_tool" ]; then
    nc_json "$nc_tool"
    nc_2="$nc_2,\"tool\":$nc_j"
  fi
  if [ -n "$nc_errpath" ]; then
    nc_json "$nc_errpath"
    nc_2="$nc_2,\"stderr\":$nc_j"
  fi
  if [ -n "$nc_reason" ]; then
    nc_json "$nc_reason"
    nc_2="$nc_2,\"reason\":$nc_j"
    [ "$nc_status" = ok ] || nc_log "$nc_path: $nc_status: $nc_reason"
  fi
  nc_put "$nc_member	$nc_1	$nc_2}" >>"$nc_tmp/records"
  if [ "$nc_member" != - ]; then nc_put "$nc_member" >>"$nc_tmp/members"; fi
  if [ -n "$nc_errpath" ]; then nc_put "$nc_errpath" >>"$nc_tmp/members"; fi
}

# nc_tool: version text of a tool, asked once. Only tools whose version switch is known to touch nothing.
nc_ver() { # NAME
  nc_var_of "$1"
  if [ -z "$nc_var" ]; then nc_tool=; return 0; fi
  nc_v_key=$nc_var
  eval "nc_tool=\${nc_ver_$nc_v_key-?}"
  [ "$nc_tool" = '?' ] || return 0
  nc_tool=
  case $1 in
    ip | bridge | tc | ss | iptables* | ip6tables* | brctl | conntrack) nc_v_opt=-V ;;
    nft) nc_v_opt=-v ;;
    docker | crictl | ethtool | nsenter | dmesg | journalctl) nc_v_opt=--version ;;
    *) nc_v_opt= ;;
  esac
  nc_which "$1"
  nc_v_path=$nc_bin
  if [ -n "$nc_v_opt" ]; then
    nc_run 3 64 "$nc_tmp/ver" /dev/null "$1" "$nc_v_opt"
    { IFS= read -r nc_tool <"$nc_tmp/ver"; } 2>/dev/null
  fi
  eval "nc_ver_$nc_v_key=\$nc_tool"
  nc_put "$1	$nc_v_path	$nc_tool" >>"$nc_tmp/tools"
}

# ---------------------------------------------------------------- what is live on this node

# Guards: a command must not load a module or start a daemon, that would be a change of the host.
# nc_live NAME SYMBOL: is a kernel part there already? Without /proc/modules the kernel cannot load any.
nc_live() {
  [ -e /proc/modules ] || return 0
  [ ! -d "/sys/module/$1" ] || return 0
  if [ "$nc_modules" = '?' ]; then
    nc_modules=' '
    while read -r nc_m nc_m_rest; do nc_modules="$nc_modules$nc_m "; done </proc/modules
    nc_builtin=
    nc_m=/lib/modules/$nc_release/modules.builtin
    if [ -r "$nc_m" ]; then nc_builtin=$nc_m; fi
  fi
  case $nc_modules in *" $1 "*) return 0 ;; esac
  if [ -n "$nc_builtin" ]; then
    grep -q "/$1\.ko" "$nc_builtin"
    return
  fi
  grep -qm1 " $2" /proc/kallsyms 2>/dev/null
}

# The guard of the next item: sets nc_skip when the kernel part is not live. Answers are kept.
nc_guard() { # NAME SYMBOL
  eval "nc_g=\${nc_live_$1-?}"
  if [ "$nc_g" = '?' ]; then
    if nc_live "$1" "$2"; then nc_g=1; else nc_g=0; fi
    eval "nc_live_$1=\$nc_g"
  fi
  [ "$nc_g" = 1 ] || nc_skip="$1 is not loaded, asking would load it"
}

# `ip xfrm` would load xfrm_user. Where that is loaded or built in, the kernel itself has a netlink socket of
# protocol 6 (NETLINK_XFRM) in every namespace.
nc_guard_xfrm() {
  nc_skip='cannot read /proc/net/netlink: whether ip xfrm would load xfrm_user is not known'
  [ -r /proc/net/netlink ] || return 0
  nc_skip='xfrm_user is not loaded, ip xfrm would load it'
  while read -r nc_x nc_g nc_gs; do
    [ "$nc_g" != 6 ] || nc_skip=
  done </proc/net/netlink
}

# Finds the daemons by argv[0] or comm. Prints "name pid", one line each.
do_scan() {
  nc_d_own=$(readlink /proc/self/ns/pid 2>/dev/null)
  for nc_d in /proc/[0-9]*; do
    nc_d_comm='' nc_d_line=''
    { read -r nc_d_comm <"$nc_d/comm"; } 2>/dev/null
    # Shells drop the NULs of cmdline: good enough to see whether a closer look is worth its forks.
    { IFS= read -r nc_d_line <"$nc_d/cmdline"; } 2>/dev/null
    [ -n "$nc_d_line" ] || continue
    nc_d_name=
    case $nc_d_comm in
      dockerd | containerd | crio | cri-dockerd | kubelet | rke2 | kube-proxy | flanneld | firewalld) nc_d_name=$nc_d_comm ;;
      k3s | k3s-server | k3s-agent) nc_d_name=k3s ;;
      containerd-shim* | docker-proxy) continue ;;
      *)
        case $nc_d_line in
          dockerd* | */dockerd* | containerd* | */containerd* | crio* | */crio* | cri-dockerd* | */cri-dockerd* | kubelet* | */kubelet* | \
            k3s* | */k3s* | rke2* | */rke2* | kube-proxy* | */kube-proxy* | flanneld* | */flanneld*)
            nc_d_name=$(tr '\000' '\n' <"$nc_d/cmdline" 2>/dev/null | sed -n 1p)
            # k3s writes "k3s server" into its argv[0].
            nc_d_name=${nc_d_name%% *}
            nc_d_name=${nc_d_name##*/}
            ;;
        esac
        ;;
    esac
    case $nc_d_name in
      dockerd | containerd | crio | cri-dockerd | kubelet | k3s | rke2 | firewalld)
        # A daemon of that name inside a container is not the node's.
        [ "$(readlink "$nc_d/ns/pid" 2>/dev/null)" = "$nc_d_own" ] || continue
        ;;
      kube-proxy | flanneld) ;;
      *) continue ;;
    esac
    nc_put "$nc_d_name ${nc_d#/proc/}"
  done
  return 0
}

# nc_daemon_pid: lowest pid of the daemon, empty if it does not run.
nc_daemon() {
  nc_daemon_pid=
  [ -s "$nc_tmp/procs" ] || return 0
  while read -r nc_d_name nc_d_pid; do
    [ "$nc_d_name" = "$1" ] || continue
    if [ -z "$nc_daemon_pid" ] || [ "$nc_d_pid" -lt "$nc_daemon_pid" ]; then nc_daemon_pid=$nc_d_pid; fi
  done <"$nc_tmp/procs"
}

# nc_flag: the last value of an option on a process's command line; empty if not given.
nc_flag_of() { # PID NAME...
  nc_flag='' nc_f_next=0
  [ -n "$1" ] || return 0
  nc_f_pid=$1
  shift
  tr '\000' '\n' <"/proc/$nc_f_pid/cmdline" >"$nc_tmp/args" 2>/dev/null || return 0
  while IFS= read -r nc_f_arg; do
    if [ "$nc_f_next" = 1 ]; then nc_flag=$nc_f_arg nc_f_next=0; continue; fi
    for nc_f_name in "$@"; do
      case $nc_f_arg in
        "$nc_f_name") nc_f_next=1 ;;
        "$nc_f_name="*) nc_flag=${nc_f_arg#*=} ;;
      esac
    done
  done <"$nc_tmp/args"
}

# nc_flag may name the file to read: only plain absolute paths that cannot be a credential.
nc_safe_path() { # PATH DEFAULT -> nc_safe
  nc_safe=$2
  case $1 in
    '' | [!/]* | *..* | /root/* | /home/* | /proc/* | /dev/* | /etc/shadow* | /etc/gshadow* | /etc/ssh/*) ;;
    *kubeconfig* | *.key | *.pem | *.crt | */pki/* | */secrets/* | *passw* | *token*) ;;
    *) nc_safe=$1 ;;
  esac
}

# A file inside a container, by /proc/PID/root. An absolute link in there would lead to the node's own files,
# so links are followed by hand and only downwards. nc_inside: the path, empty if there is none.
nc_inside_of() { # PID PATH
  nc_inside=
  nc_i_dir=/proc/$1/root
  nc_i_rest=${2#/}
  nc_i_hops=0
  while [ -n "$nc_i_rest" ]; do
    nc_i_part=${nc_i_rest%%/*}
    case $nc_i_rest in */*) nc_i_rest=${nc_i_rest#*/} ;; *) nc_i_rest= ;; esac
    case $nc_i_part in '' | .) continue ;; ..) return 0 ;; esac
    if [ -L "$nc_i_dir/$nc_i_part" ]; then
      nc_i_hops=$((nc_i_hops + 1))
      [ "$nc_i_hops" -le 8 ] || return 0
      nc_i_link=$(readlink "$nc_i_dir/$nc_i_part")
      case /$nc_i_link/ in //* | */../*) return 0 ;; esac
      nc_i_rest=$nc_i_link${nc_i_rest:+/$nc_i_rest}
      continue
    fi
    nc_i_dir=$nc_i_dir/$nc_i_part
  done
  if [ -f "$nc_i_dir" ]; then nc_inside=$nc_i_dir; fi
}

# Does /sys show our own network namespace? It shows the one it was mounted in. Sets nc_sysfs to the reason why not.
nc_check_sysfs() {
  nc_sysfs=
  [ -d /sys/class/net ] || { nc_sysfs='no /sys/class/net'; return 0; }
  nc_y_names=' '
  while IFS=: read -r nc_y_name nc_y_rest; do
    case $nc_y_rest in *'|'* | '') continue ;; esac
    nc_y_name=${nc_y_name##* }
    nc_y_names="$nc_y_names$nc_y_name "
    [ -e "/sys/class/net/$nc_y_name" ] || nc_sysfs='/sys shows another network namespace'
  done </proc/net/dev
  for nc_y in /sys/class/net/*; do
    [ -e "$nc_y/ifindex" ] || continue
    case $nc_y_names in *" ${nc_y##*/} "*) ;; *) nc_sysfs='/sys shows another network namespace' ;; esac
  done
  # Equal names may be chance (every namespace has lo and eth0): compare numbers and addresses too.
  if [ -z "$nc_sysfs" ] && nc_have ip; then
    nc_run 5 8192 "$nc_tmp/links" /dev/null ip -o link
    while read -r nc_y_index nc_y_name nc_y_rest; do
      nc_y_name=${nc_y_name%:}
      nc_y_name=${nc_y_name%%@*}
      nc_y_have='' nc_y_mac=''
      { read -r nc_y_have <"/sys/class/net/$nc_y_name/ifindex"; } 2>/dev/null
      { read -r nc_y_mac <"/sys/class/net/$nc_y_name/address"; } 2>/dev/null
      if [ "$nc_y_have" != "${nc_y_index%:}" ]; then nc_sysfs='/sys shows another network namespace'; fi
      case "$nc_y_rest " in *" $nc_y_mac "*) ;; *) nc_sysfs='/sys shows another network namespace' ;; esac
    done <"$nc_tmp/links"
  fi
}

# Bridges, VXLAN devices and uplinks of our own namespace: nc_bridges, nc_nics (at most 16).
nc_find_links() {
  nc_bridges='' nc_nics=''
  if [ -z "$nc_sysfs" ]; then
    for nc_l in /sys/class/net/*/bridge; do
      [ -d "$nc_l" ] || continue
      nc_l=${nc_l%/bridge}
      nc_bridges="$nc_bridges ${nc_l##*/}"
    done
  fi
  nc_l_count=0
  nc_l_all=
  while read -r nc_l nc_l_dest nc_l_rest; do
    if [ "$nc_l_dest" = 00000000 ]; then nc_l_all="$nc_l_all $nc_l"; fi
  done </proc/net/route
  if nc_have ip; then
    for nc_l_type in vxlan bridge; do
      nc_run 5 1024 "$nc_tmp/links" /dev/null ip -o link show type $nc_l_type
      while read -r nc_l nc_l_name nc_l_rest; do
        nc_l_name=${nc_l_name%:}
        nc_l_all="$nc_l_all ${nc_l_name%%@*}"
      done <"$nc_tmp/links"
    done
  fi
  set -f
  for nc_l in $nc_l_all; do
    case "$nc_nics " in *" $nc_l "*) continue ;; esac
    [ "$nc_l_count" -lt 16 ] || break
    nc_l_count=$((nc_l_count + 1))
    nc_nics="$nc_nics $nc_l"
  done
  set +f
}

# Which backend does plain iptables speak? nc_variant: nft, legacy or empty; nc_variant6 for ip6tables.
nc_find_variants() {
  nc_ver iptables
  nc_variant=$(nc_variant_of iptables "$nc_tool")
  nc_ver ip6tables
  nc_variant6=$(nc_variant_of ip6tables "$nc_tool")
  nc_tool=
}
nc_variant_of() { # TOOL VERSION
  nc_have "$1-save" || return 0
  case $2 in
    *nf_tables*) nc_put nft ;;
    *) nc_put legacy ;;
  esac
}

# ---------------------------------------------------------------- items that are more than one command

# Tells item() a status and reason of its own.
do_status() { nc_put "$*" >"$nc_tmp/say"; }

# grep says 1 for "no line" and 2 when one of many files is missing: neither is a failure here.
do_grep() {
  grep "$@"
  nc_x=$?
  [ "$nc_x" -le 2 ]
}

do_hostname() { if nc_have hostname; then hostname; else uname -n; fi; }

do_modules() { if [ -e /proc/modules ]; then cat /proc/modules; else ls /sys/module; fi; }

do_hash_of() { # FILE: only its sha256, the id itself is confidential
  nc_h=$($nc_sha <"$1") || return 1
  nc_put "${nc_h%% *}"
}

do_kconfig() {
  nc_x='NETFILTER|BRIDGE_NETFILTER|VXLAN|CGROUP'
  if [ -r "/boot/config-$nc_release" ]; then
    grep -E "$nc_x" "/boot/config-$nc_release"
  elif [ -r /proc/config.gz ]; then
    gzip -dc </proc/config.gz | grep -E "$nc_x"
  else
    do_status absent "no /boot/config-$nc_release and no /proc/config.gz"
  fi
}

do_cgroup() {
  stat -fc %T /sys/fs/cgroup
  cat /proc/1/cgroup
  do_grep cgroup /proc/mounts
}

do_sysfs() {
  cd /sys/class/net || return 1
  set -- # the patterns that match
  for nc_x in */bridge/bridge_id */bridge/stp_state */bridge/ageing_time */bridge/vlan_filtering \
    */bridge/nf_call_iptables */bridge/nf_call_ip6tables */bridge/group_fwd_mask */brport/state \
    */brport/hairpin_mode */brport/isolated */brport/path_cost */brport/unicast_flood */mtu */address \
    */operstate */carrier */ifindex */iflink; do
    if [ -f "$nc_x" ]; then set -- "$@" "/sys/class/net/$nc_x"; fi
  done
  do_grep -sH '' "$@"
}

do_brif() {
  # Always with the directory as a heading, even for a single bridge.
  for nc_x in /sys/class/net/*/brif; do
    [ -d "$nc_x" ] || continue
    nc_put "$nc_x:"
    ls "$nc_x"
  done
}

do_iptables_version() {
  iptables -V
  nc_x=$?
  if nc_have ip6tables; then ip6tables -V; fi
  readlink -f "$(command -v iptables)"
  return "$nc_x"
}

do_ipvs() {
  nc_x=0
  if nc_have ipvsadm; then ipvsadm -Sn; nc_x=$?; fi
  cat /proc/net/ip_vs
  return "$nc_x"
}

do_firewalld() {
  firewall-cmd --state
  firewall-cmd --list-all-zones
}

# `ufw status` would run iptables -L. Its switches are in these two files, its rules in *.rules.
do_ufw() {
  for nc_x in /etc/ufw/ufw.conf /etc/default/ufw; do
    if [ -f "$nc_x" ]; then grep -H '' "$nc_x"; fi
  done
  return 0
}

do_ct_stat() {
  if [ -e /proc/net/stat/nf_conntrack ]; then cat /proc/net/stat/nf_conntrack; fi
  if nc_have conntrack; then conntrack -S; else do_status missing 'tool not found in PATH: conntrack'; fi
}

do_ct_table() {
  nc_x=20000
  if nc_have conntrack; then
    conntrack -L -o extended
  elif [ -r /proc/net/nf_conntrack ]; then
    cat /proc/net/nf_conntrack
  else
    do_status missing 'tool not found in PATH: conntrack'
    return 0
  fi | awk -v max="$nc_x" -v say="$nc_tmp/say" 'NR <= max { print; next } { print "truncated cut at " max " rows" >say; exit }'
}

do_sockets() {
  if nc_have ss && [ "$nc_diag" = 1 ]; then
    ss -H -l -n -t -u -p -e
  elif nc_have netstat; then
    nc_which netstat
    "$nc_bin" -tulpn
  elif nc_have ss; then
    do_status skipped 'inet_diag or tcp_diag is not loaded, ss would load it'
  else
    do_status missing 'tool not found in PATH: ss'
  fi
}

# Files by pattern instead of `sysctl -a`: 15 times faster with many interfaces, and dots in device names survive.
do_sysctl() {
  cd /proc/sys || return 1
  if [ "$nc_full" = 1 ]; then
    grep -rsH '' net kernel/pid_max kernel/panic fs/file-nr fs/inotify vm/swappiness vm/overcommit_memory |
      grep -v -e stable_secret -e tcp_fastopen_key
    return 0
  fi
  set --
  for nc_x in net/ipv4/ip_forward net/ipv4/ip_default_ttl net/ipv4/icmp_echo_ignore_all net/ipv6/icmp/echo_ignore_all \
    net/ipv4/ip_local_port_range net/ipv4/ip_local_reserved_ports net/ipv4/tcp_* \
    net/ipv4/neigh/default/gc_* net/ipv4/conf/*/forwarding net/ipv4/conf/*/rp_filter net/ipv4/conf/*/arp_* \
    net/ipv4/conf/*/proxy_arp net/ipv4/conf/*/accept_local net/ipv4/conf/*/route_localnet \
    net/ipv4/conf/*/send_redirects net/ipv4/conf/*/src_valid_mark net/ipv6/conf/*/forwarding \
    net/ipv6/conf/*/disable_ipv6 net/ipv6/conf/*/accept_ra net/ipv6/conf/*/hop_limit \
    net/ipv6/conf/*/force_forwarding net/bridge/* net/netfilter/* net/ipv4/vs/* net/core/somaxconn \
    net/core/netdev_max_backlog net/core/default_qdisc kernel/pid_max kernel/panic fs/file-nr fs/inotify/* \
    vm/swappiness vm/overcommit_memory; do
    case $nc_x in *tcp_fastopen_key | *stable_secret) continue ;; esac
    if [ -f "$nc_x" ]; then set -- "$@" "$nc_x"; fi
  done
  # What exempts a device from policies of IPsec is of use where there are any.
  if [ "${nc_xfrm:-0}" = 1 ]; then set -- "$@" net/ipv4/conf/*/disable_policy net/ipv4/conf/*/disable_xfrm; fi
  do_grep -sH '' "$@"
}

do_ethtool() {
  for nc_x in -k -i -S; do
    nc_put "# ethtool $nc_x $1"
    ethtool "$nc_x" "$1"
  done
  # A virtual device has no statistics and says so with an exit status: that is no failure.
  return 0
}

do_network_inspect() {
  nc_x=$(docker network ls -q --no-trunc) || return 1
  [ -n "$nc_x" ] || return 0
  # shellcheck disable=SC2086 # a list of ids
  docker network inspect $nc_x
}

# `docker ps` without its Command column: arguments hold secrets.
do_docker_ps() {
  docker ps -a --no-trunc --format '{"ID":{{json .ID}},"Names":{{json .Names}},"Image":{{json .Image}},"CreatedAt":{{json .CreatedAt}},"Status":{{json .Status}},"Ports":{{json .Ports}},"Networks":{{json .Networks}},"Labels":{{json .Labels}}}'
}

# An allowlist: no Env, no Cmd, no Mounts; of errors only that a port was taken, for others quote commands. `.ID` is the client's field;
# `.Id` makes it fall back to the raw answer, which leaves out what is empty (Config.ExposedPorts), and a template that asks for that
# ends with an error.
do_docker_containers() {
  nc_x=$(docker ps -a -q --no-trunc) || return 1
  [ -n "$nc_x" ] || return 0
  # shellcheck disable=SC2086 # a list of ids
  docker inspect --type container --format '{"Id":{{json .ID}},"Name":{{json .Name}},"Created":{{json .Created}},"State":{"Pid":{{json .State.Pid}},"Status":{{json .State.Status}},"StartedAt":{{json .State.StartedAt}},"FinishedAt":{{json .State.FinishedAt}},"Error":{{if or (gt (len (split .State.Error "port is already allocated")) 1) (gt (len (split .State.Error "address already in use")) 1)}}{{json .State.Error}}{{else}}""{{end}}},"RestartCount":{{json .RestartCount}},"Config":{"Image":{{json .Config.Image}},"Hostname":{{json .Config.Hostname}},"ExposedPorts":{{json .Config.ExposedPorts}},"Labels":{{json .Config.Labels}}},"HostConfig":{"NetworkMode":{{json .HostConfig.NetworkMode}},"PortBindings":{{json .HostConfig.PortBindings}},"Privileged":{{json .HostConfig.Privileged}},"ExtraHosts":{{json .HostConfig.ExtraHosts}},"CapAdd":{{json .HostConfig.CapAdd}},"CgroupParent":{{json .HostConfig.CgroupParent}},"RestartPolicy":{{json .HostConfig.RestartPolicy}}},"NetworkSettings":{{json .NetworkSettings}}}' $nc_x
}

# The unix sockets that the API may be on, one path a line: docker's own default, what dockerd and docker.socket were told,
# and what dockerd really listens on ($nc_tmp/unix; its other sockets are no API).
do_docker_paths() {
  nc_put /run/docker.sock
  nc_put /var/run/docker.sock
  nc_x=/etc/docker/daemon.json
  if [ -n "$nc_dockerd" ]; then
    nc_flag_of "$nc_dockerd" --config-file
    nc_safe_path "$nc_flag" "$nc_x"
    nc_x=$nc_safe
    tr '\000' '\n' <"/proc/$nc_dockerd/cmdline" | sed -n -e 's|^-H=*||' -e 's|^--host=||' -e 's|^unix://||p'
  fi
  for nc_x_file in "$nc_x" /var/snap/docker/current/config/daemon.json; do
    [ ! -f "$nc_x_file" ] || tr '"' '\n' <"$nc_x_file" | sed -n -e 's|\\/|/|g' -e 's|^unix://||p'
  done
  for nc_x_dir in /etc/systemd/system /run/systemd/system /usr/lib/systemd/system /lib/systemd/system; do
    for nc_x_file in "$nc_x_dir"/docker.socket "$nc_x_dir"/docker.socket.d/*.conf; do
      [ ! -f "$nc_x_file" ] || sed -n -e 's|%t/|/run/|' -e 's|^[ 	]*ListenStream[ 	]*=[ 	]*/|/|p' "$nc_x_file"
    done
  done
  sed -n 's|^api ||p' "$nc_tmp/unix"
}

# Listening unix sockets by name: "api PATH" of dockerd's own, else "any PATH". The table of the kernel, nothing is opened.
do_unix_listeners() {
  {
    if [ -n "$nc_dockerd" ]; then
      ls -l "/proc/$nc_dockerd/fd" 2>/dev/null
      cat "/proc/$nc_dockerd/net/unix" 2>/dev/null
    fi
    cat /proc/net/unix
  } | awk '
    match($0, /-> socket:\[[0-9]+\]$/) { own[substr($0, RSTART + 11, RLENGTH - 12)] = 1; next }
    # Num RefCount Protocol Flags Type St Inode Path; the flag of a socket that listens.
    $4 == "00010000" && $8 ~ /^\// {
      path = $0; for (i = 1; i <= 7; i++) sub(/^ *[^ ]+ /, "", path)
      sub(/^ */, "", path)
      if (($7 in own) && path !~ /\/(libnetwork|swarm|plugins|containerd)\/|\/metrics\.sock$/) print "api " path
      else print "any " path
    }'
}

# nc_e_*: what ls says of a file, without following it. Numbers by -n: a name may hold blanks. No stat(1): dialects.
nc_entry() { # PATH
  nc_e_mode=
  set -f
  # shellcheck disable=SC2046 # fields of a line
  set -- $(ls -ldin "$1" 2>/dev/null)
  set +f
  [ $# -ge 5 ] || return 1
  nc_e_inode=$1 nc_e_mode=$2 nc_e_uid=$4 nc_e_gid=$5
}

# nc_e_name: the name of a number in /etc/passwd or /etc/group, `-` if it has none there.
nc_name_of() { # FILE NUMBER
  nc_e_name=-
  while IFS=: read -r nc_e_who nc_x_rest nc_e_id nc_x_rest; do
    if [ "$nc_e_id" = "$2" ]; then nc_e_name=$nc_e_who; break; fi
  done 2>/dev/null <"$1"
}

# nc_real: a path with the links of its directories and of itself followed.
nc_real_of() { # PATH
  nc_real=$1
  if [ -L "$1" ]; then nc_real=$(readlink -f "$1" 2>/dev/null) || nc_real=$1; fi
  nc_x_dir=$(cd "${nc_real%/*}/" 2>/dev/null && pwd -P) || return 0
  nc_real=${nc_x_dir%/}/${nc_real##*/}
}

# Modes of the sockets of the API and of the directories above them. A look at the files: a connection could start dockerd.
do_docker_socket() {
  do_unix_listeners >"$nc_tmp/unix"
  do_docker_paths | awk '/^\// && !seen[$0]++' >"$nc_tmp/paths"
  nc_x_live=$nc_nl nc_x_all=$nc_nl nc_x_denied=0
  printf '' >"$nc_tmp/socks"
  # What listens, under its true name: /var/run is a link nearly everywhere.
  while IFS= read -r nc_x; do
    if ! grep -qxF -e "api $nc_x" -e "any $nc_x" "$nc_tmp/unix"; then continue; fi
    nc_real_of "$nc_x"
    nc_x_live=$nc_x_live$nc_real$nc_nl
  done <"$nc_tmp/paths"
  while IFS= read -r nc_x; do
    nc_status=
    nc_readable "$nc_x"
    case $nc_status in
      denied) nc_x_denied=1; nc_put "denied path=$nc_x"; continue ;;
      absent) continue ;;
    esac
    nc_real_of "$nc_x"
    if [ "$nc_real" != "$nc_x" ]; then nc_put "link path=$nc_x target=$nc_real"; fi
    case $nc_x_all in *"$nc_nl$nc_real$nc_nl"*) continue ;; esac
    nc_x_all=$nc_x_all$nc_real$nc_nl
    nc_entry "$nc_real" || continue
    if [ ! -S "$nc_real" ]; then nc_put "other mode=$nc_e_mode path=$nc_real"; continue; fi
    nc_put "$nc_e_inode $nc_real" >>"$nc_tmp/socks"
    nc_x_listen=no
    case $nc_x_live in *"$nc_nl$nc_real$nc_nl"*) nc_x_listen=yes ;; esac
    nc_name_of /etc/passwd "$nc_e_uid"
    nc_x_user=$nc_e_name
    nc_name_of /etc/group "$nc_e_gid"
    nc_put "socket mode=$nc_e_mode uid=$nc_e_uid user=$nc_x_user gid=$nc_e_gid group=$nc_e_name listening=$nc_x_listen path=$nc_real"
    do_dirs_above "$nc_real"
  done <"$nc_tmp/paths"
  if [ "$nc_x_all" = "$nc_nl" ]; then
    if [ "$nc_x_denied" = 1 ]; then do_status denied 'no access to the directory of the socket'
    else do_status absent 'no socket: /run/docker.sock, nor where dockerd was told to listen'
    fi
  elif [ "$nc_uid" != 0 ]; then do_status failed 'where dockerd listens takes root: only the usual places were looked at'
  fi
}

do_dirs_above() { # PATH
  nc_x_dir=$1
  while [ -n "$nc_x_dir" ]; do
    nc_x_dir=${nc_x_dir%/*}
    case $nc_x_all in *"$nc_nl${nc_x_dir:-/}$nc_nl"*) continue ;; esac
    nc_x_all=$nc_x_all${nc_x_dir:-/}$nc_nl
    if nc_entry "${nc_x_dir:-/}"; then nc_put "dir mode=$nc_e_mode uid=$nc_e_uid gid=$nc_e_gid path=${nc_x_dir:-/}"; fi
  done
}

# Which containers have such a socket in their mounts, by /proc/PID/mountinfo: no other mount is told of, a name given by a link
# does not matter, and it holds for every runtime. With them who could open it: identities of the processes in there.
do_socket_mounts() {
  {
    ls -ln /proc/[0-9]*/ns/mnt
    ls -ln /proc/[0-9]*/ns/user
  } 2>/dev/null |
    awk -v socks="$nc_tmp/socks" -v own="$(readlink /proc/self/ns/mnt)" -v say="$nc_tmp/say" "$nc_mounts_program"
}

nc_mounts_program='
# Escapes as mountinfo has them.
function esc(s) { gsub(/\\/, "\\134", s); gsub(/ /, "\\040", s); gsub(/\t/, "\\011", s); return s }
# A path inside a directory: what follows it; "?" if it is not in there.
function below(dir, path) {
  if (dir == "/") return path
  if (path == dir) return ""
  return index(path, dir "/") == 1 ? substr(path, length(dir) + 1) : "?"
}
function join(dir, rest) { if (rest == "") return dir; return dir == "/" ? rest : dir rest }
# Mounts of a process: md, mr, mp, mo by number; their count. id: the last 64 hex digits in its cgroup paths. By cat: a process
# that ends while it is read would end mawk as well.
function mounts(pid,    cmd, line, w, n, i, k) {
  n = 0; id = ""
  cmd = "cat /proc/" pid "/cgroup /proc/" pid "/mountinfo 2>/dev/null"
  while ((cmd | getline line) > 0) {
    if (line ~ /^[0-9]+:/) {
      k = split(line, w, /[^0-9a-f]+/)
      for (i = 1; i <= k; i++) if (length(w[i]) == 64) id = w[i]
    } else { split(line, w, " "); n++; md[n] = w[3]; mr[n] = w[4]; mp[n] = w[5]; mo[n] = w[6] }
  }
  close(cmd)
  return n
}
# The mount that a path leads to: the longest mount point above it, the last of several.
function mount_of(path, n,    i, best) {
  best = 0
  for (i = 1; i <= n; i++) if (below(mp[i], path) != "?" && (best == 0 || length(mp[i]) >= length(mp[best]))) best = i
  return best
}
function inode(path,    cmd, line) {
  # Names in a container are its own choice: only plain ones go to a shell. A slash escaped in brackets would let busybox take backslashes.
  if (path !~ "^[/A-Za-z0-9_.@:+-]+$") return "-"
  cmd = "ls -id " path " 2>/dev/null"; line = ""
  cmd | getline line; close(cmd)
  sub(/^ */, "", line); sub(/ .*/, "", line)
  return line == "" ? "none" : line
}
# What a process is to a file: sets st; false if it is gone. The label of its security module comes last and has no name.
function status(pid,    cmd, line, w, n, i) {
  split("", st); st["label"] = "-"
  cmd = "cat /proc/" pid "/status /proc/" pid "/attr/current 2>/dev/null"
  while ((cmd | getline line) > 0) {
    n = split(line, w, /[ \t]+/)
    if (w[1] == "Name:") { sub(/^Name:[ \t]*/, "", line); gsub("[^/A-Za-z0-9_.:@+-]", "_", line); st["name"] = line }
    else if (w[1] == "State:") st["state"] = w[2]
    # The last of the four is what files are opened with.
    else if (w[1] == "Uid:") st["uid"] = w[5]
    else if (w[1] == "Gid:") st["gid"] = w[5]
    else if (w[1] == "Groups:") { st["groups"] = ""; for (i = 2; i <= n; i++) if (w[i] != "") st["groups"] = st["groups"] (st["groups"] == "" ? "" : ",") w[i] }
    else if (w[1] == "CapEff:") st["caps"] = w[2]
    else if (line !~ /^[A-Za-z0-9_]+:[ \t]/) { gsub("[^/A-Za-z0-9_.,:()+-]+", "_", line); sub(/_+$/, "", line); if (line != "") st["label"] = line }
  }
  close(cmd)
  return ("state" in st) && st["state"] !~ /^[ZX]/
}
function people(box, ns,    i, n, list, key, seen) {
  n = split(pids[ns], list, " ")
  for (i = 1; i <= n; i++) {
    if (i > 200) { unread += n - 200; return }
    if (!status(list[i])) continue
    key = "uid=" st["uid"] " gid=" st["gid"] " groups=" (st["groups"] == "" ? "-" : st["groups"]) " caps=" st["caps"] " userns=" (!(list[i] in user) ? "-" : user[list[i]] == user[1] ? "host" : "other") " label=" st["label"]
    if (key in seen) continue
    seen[key] = 1
    print "process container=" box " pid=" list[i] " comm=" st["name"] " " key
  }
}
function look(ns,    n, i, s, list, pid, k, rest, at, found, was) {
  k = split(pids[ns], list, " "); n = 0
  for (i = 1; i <= k && n == 0; i++) { pid = list[i]; n = mounts(pid) }
  if (n == 0 || id == "" || id == hostid) return
  containers++
  found = 0
  for (s = 1; s <= ns_socks; s++) for (i = 1; i <= n; i++) {
    if (md[i] != dev[s]) continue
    rest = mr[i] == root[s] "//deleted" ? "" : below(mr[i], root[s])
    if (rest == "?") continue
    at = join(mp[i], rest)
    # Something else may lie on top of it.
    was = mount_of(at, n) == i ? inode("/proc/" pid "/root" at) : "none"
    if (was != "-") was = was == ino[s] ? "yes" : "no"
    print "mount container=" id " pid=" pid " mode=" (mo[i] ~ /^ro(,|$)/ ? "ro" : "rw") " at=" mp[i] " socket=" at " same=" was " host=" esc(sock[s])
    found = 1
  }
  if (found) people(id, ns)
}
{
  # .../proc/PID/ns/mnt -> mnt:[4026531841]
  if (!match($0, /\/proc\/[0-9]+\/ns\/(mnt|user)/)) next
  n = split(substr($0, RSTART, RLENGTH), part, "/"); pid = part[3] + 0
  # Only who was there at the first look is missed when it cannot be read.
  if (part[5] == "mnt" && !(pid in known)) { known[pid] = 1; order[++count] = pid }
  if ($NF ~ /^mnt:/) mnt[pid] = $NF
  if ($NF ~ /^user:/) user[pid] = $NF
}
END {
  while ((getline line <socks) > 0) {
    ns_socks++; ino[ns_socks] = line; sub(/ .*/, "", ino[ns_socks]); sub(/^[^ ]* /, "", line); sock[ns_socks] = line
  }
  n = mounts("self")
  for (s = 1; s <= ns_socks; s++) {
    i = mount_of(esc(sock[s]), n); dev[s] = "-"; root[s] = "-"
    if (i > 0) { dev[s] = md[i]; root[s] = join(mr[i], below(mp[i], esc(sock[s]))) }
    print "socket dev=" dev[s] " root=" root[s] " path=" esc(sock[s])
  }
  line = ""; getline line <"/sys/fs/selinux/enforce"
  if (line != "") print "selinux enforce=" line
  mounts(1); hostid = id; unread = 0; spaces = 0; containers = 0
  for (i = 1; i <= count; i++) {
    pid = order[i]
    if (!(pid in mnt)) { if (status(pid)) unread++; continue }
    if (!(mnt[pid] in pids)) { list_ns[++spaces] = mnt[pid]; pids[mnt[pid]] = pid }
    # The lowest pid first: the one that docker knows.
    else if (pid < pids[mnt[pid]] + 0) pids[mnt[pid]] = pid " " pids[mnt[pid]]
    else pids[mnt[pid]] = pids[mnt[pid]] " " pid
  }
  for (i = 1; i <= spaces; i++) if (list_ns[i] != mnt[1] && list_ns[i] != own) look(list_ns[i])
  print "looked namespaces=" spaces " containers=" containers " unread=" unread
  if (unread > 0) print "failed mount namespaces of " unread " processes could not be read" >say
}'

do_unit() { # UNIT...
  systemctl cat --no-pager "$@" 2>"$nc_tmp/unit.err"
  nc_x=$?
  cat "$nc_tmp/unit.err" >&2
  if [ "$nc_x" != 0 ] && grep -q 'No files found' "$nc_tmp/unit.err"; then
    do_status absent "no unit $1"
    return 0
  fi
  case $1 in
    docker.service)
      systemctl show --no-pager -p ActiveState,ExecMainStartTimestamp,NRestarts,Environment docker.service || nc_x=$?
      ;;
  esac
  return "$nc_x"
}

do_cmdline() { tr '\000' '\n' <"/proc/$1/cmdline"; } # PID

do_staticpods() {
  ls /etc/kubernetes/manifests
  do_grep -E -e '--cluster-cidr|service-cluster-ip-range|allocate-node-cidrs|node-cidr' -r /etc/kubernetes/manifests
}

do_ls() { # DIRECTORY...
  nc_x=0
  for nc_x_dir in "$@"; do
    [ -d "$nc_x_dir" ] || continue
    nc_x=1
    if [ $# -gt 1 ]; then nc_put "$nc_x_dir:"; fi
    ls -l "$nc_x_dir"
  done
  [ "$nc_x" = 1 ] || do_status absent "no such directory: $*"
}

# The last part of a log, as the end is what matters; a full cap is recorded as truncated.
do_tail() { # COMMAND...
  nc_which "$1"
  shift
  set -- "$nc_bin" "$@"
  { "$@"; nc_put "$?" >"$nc_tmp/tail.rc"; } | tail -c "$((nc_cap * 1024))"
  read -r nc_x <"$nc_tmp/tail.rc"
  return "$nc_x"
}

do_podlog() { # FILE
  tail -c "$nc_tail_limit" "$1" || return 1
  nc_bytes "$1"
  [ "$nc_size" -le "$nc_tail_limit" ] || do_status truncated "the last $nc_tail_limit bytes of $nc_size"
}

# "inode pid comm cgroup-id pin-path" of each network namespace, `-` for what is not known.
# Processes first; namespaces without one are found by their mounts below /run (docker, ip netns, CNI).
do_netns_index() {
  {
    ls -ln /proc/[0-9]*/ns/net 2>/dev/null
    for nc_x in /run/netns/* /run/docker/netns/* /var/run/netns/* /var/run/docker/netns/*; do
      if [ -e "$nc_x" ]; then ls -id "$nc_x"; fi
    done
  } | awk '
    $NF ~ /^net:\[/ {
      split($(NF - 2), part, "/"); inode = $NF; gsub(/[^0-9]/, "", inode)
      if (!(inode in pid)) { order[++n] = inode; pid[inode] = part[3] + 0 }
      else if (part[3] + 0 < pid[inode]) pid[inode] = part[3] + 0
      next
    }
    # Namespace inodes are in the range of nsfs; a left-over plain file is not a namespace.
    $1 ~ /^[0-9]+$/ && $1 + 0 >= 4026531833 && NF == 2 {
      if (!($1 in pid) && !($1 in pin)) order[++n] = $1
      if (!($1 in pin)) pin[$1] = $2
    }
    END { for (i = 1; i <= n; i++) print order[i], (order[i] in pid) ? pid[order[i]] : "-", (order[i] in pin) ? pin[order[i]] : "-" }
  ' | sort -n >"$nc_tmp/netns"
  while read -r nc_x_inode nc_x_pid nc_x_pin; do
    nc_x_comm=- nc_x_cgroup=-
    if [ "$nc_x_pid" != - ]; then
      { IFS= read -r nc_x_comm <"/proc/$nc_x_pid/comm"; } 2>/dev/null || nc_x_comm=-
      case $nc_x_comm in *[!A-Za-z0-9_./:@+-]* | '') nc_x_comm=$(printf %s "$nc_x_comm" | tr -c 'A-Za-z0-9_./:@+-' _) ;; esac
      nc_container_of "$nc_x_pid"
    fi
    nc_put "$nc_x_inode $nc_x_pid ${nc_x_comm:--} $nc_x_cgroup $nc_x_pin"
  done <"$nc_tmp/netns"
}

# nc_x_cgroup: the 64 hex digits of the container in a process's cgroup path.
nc_hex='[0-9a-f]'
nc_hex=$nc_hex$nc_hex$nc_hex$nc_hex
nc_hex=$nc_hex$nc_hex$nc_hex$nc_hex
nc_hex=$nc_hex$nc_hex$nc_hex$nc_hex
nc_container_of() {
  while IFS= read -r nc_x_line; do
    # shellcheck disable=SC2254 # a pattern on purpose
    case $nc_x_line in
      *$nc_hex | *$nc_hex.scope)
        nc_x_line=${nc_x_line%.scope}
        nc_x_line=${nc_x_line##*[!0-9a-f]}
        if [ ${#nc_x_line} = 64 ]; then
          nc_x_cgroup=$nc_x_line
          return 0
        fi
        ;;
    esac
  done 2>/dev/null <"/proc/$1/cgroup"
  return 0
}

# ---------------------------------------------------------------- the items
# One call of `item` for each line of collectors/evidence.tsv; a test compares both.

nc_area_system() {
  item sys.uname host/sys/uname.txt 5 256 S1 cmd uname -a
  item sys.hostname host/sys/hostname.txt 5 256 S1 fn hostname do_hostname
  item sys.uptime host/sys/uptime.txt 5 256 S1 cat /proc/uptime
  item sys.boot-id host/sys/boot_id.txt 5 256 S1 cat /proc/sys/kernel/random/boot_id
  item sys.date host/sys/date.txt 5 256 S1 cmd date -u +%s
  nc_wash=1
  item sys.cmdline host/sys/cmdline.txt 5 256 S1 cat /proc/cmdline
  nc_wash=0
  item sys.os-release files/etc/os-release 5 256 S1 file /etc/os-release
  nc_machine_id
  item sys.hosts files/etc/hosts 5 256 S1 file /etc/hosts
  item sys.resolv-conf files/etc/resolv.conf 5 256 S1 file /etc/resolv.conf
  item sys.nsswitch files/etc/nsswitch.conf 5 256 S1 file /etc/nsswitch.conf
  item sys.modules host/sys/modules.txt 5 512 S0 fn 'cat /proc/modules || ls /sys/module' do_modules
  item sys.kconfig-net host/sys/kconfig-net.txt 5 512 S0 fn 'grep -E NETFILTER|BRIDGE_NETFILTER|VXLAN|CGROUP /boot/config-* || /proc/config.gz' do_kconfig
  item sys.cgroup host/sys/cgroup.txt 5 512 S0 fn 'stat -fc %T /sys/fs/cgroup; cat /proc/1/cgroup; grep cgroup /proc/mounts' do_cgroup
}

nc_machine_id() {
  nc_status='' nc_reason=''
  nc_readable /etc/machine-id
  if [ -n "$nc_status" ]; then set -- none "$nc_status" "$nc_reason"
  else set -- fn 'sha256 of /etc/machine-id' do_hash_of /etc/machine-id
  fi
  item sys.machine-id files/etc/machine-id 5 256 S1 "$@"
}

nc_area_links() {
  item ip.addr host/ip/addr.txt 10 8192 S1 cmd ip addr
  item ip.addr-json host/ip/addr.json 10 8192 S1 cmd ip -d -s -j addr
  item ip.link host/ip/link.txt 10 8192 S1 cmd ip -d -s link
  item ip.link-json host/ip/link.json 10 8192 S1 cmd ip -d -s -j link
  item ip.nsid-json host/ip/nsid.json 10 8192 S1 cmd ip -j netns list-id
  if nc_have ip; then nc_skip='iproute2 is present'; fi
  item ip.ifconfig host/ip/ifconfig.txt 10 8192 S1 cmd ifconfig -a
}

nc_area_routes() {
  item ip.route4 host/ip/route4.txt 10 8192 S1 cmd ip -4 -d route show table all
  item ip.route4-json host/ip/route4.json 10 8192 S1 cmd ip -4 -d -j route show table all
  item ip.route6 host/ip/route6.txt 10 8192 S1 cmd ip -6 -d route show table all
  item ip.route6-json host/ip/route6.json 10 8192 S1 cmd ip -6 -d -j route show table all
  item ip.rule4 host/ip/rule4.txt 10 8192 S1 cmd ip -4 rule
  item ip.rule4-json host/ip/rule4.json 10 8192 S1 cmd ip -4 -j rule
  item ip.rule6 host/ip/rule6.txt 10 8192 S1 cmd ip -6 rule
  item ip.rule6-json host/ip/rule6.json 10 8192 S1 cmd ip -6 -j rule
  item ip.neigh host/ip/neigh.txt 10 8192 S1 cmd ip -d -s neigh show nud all
  item ip.neigh-json host/ip/neigh.json 10 8192 S1 cmd ip -d -s -j neigh show nud all
  item ip.neigh-proxy host/ip/neigh-proxy.txt 10 1024 S1 cmd ip neigh show proxy
  item ip.nexthop-json host/ip/nexthop.json 10 8192 S1 cmd ip -j nexthop
  nc_guard_xfrm
  item ip.xfrm-policy host/ip/xfrm-policy.txt 10 1024 S1 cmd ip xfrm policy
  if [ -s "$nc_root/host/ip/xfrm-policy.txt" ]; then nc_xfrm=1; else nc_xfrm=0; fi
  item proc.route host/proc/net/route 10 8192 S1 cat /proc/net/route
  item proc.fib-trie host/proc/net/fib_trie 10 8192 S1 cat /proc/net/fib_trie
  item proc.ipv6-route host/proc/net/ipv6_route 10 8192 S1 cat /proc/net/ipv6_route
  item proc.arp host/proc/net/arp 10 8192 S1 cat /proc/net/arp
  item proc.dev host/proc/net/dev 10 8192 S1 cat /proc/net/dev
  item proc.snmp host/proc/net/snmp 10 8192 S1 cat /proc/net/snmp
  item proc.netstat host/proc/net/netstat 10 8192 S1 cat /proc/net/netstat
  item proc.sockstat host/proc/net/sockstat 10 8192 S1 cat /proc/net/sockstat
  item proc.softnet-stat host/proc/net/softnet_stat 10 8192 S1 cat /proc/net/softnet_stat
  # in the first network namespace only, whose limits hold for all
  item proc.arp-cache host/proc/net/stat/arp_cache 10 256 S1 cat /proc/net/stat/arp_cache
  item ip.rt-tables files/etc/iproute2/rt_tables 10 256 S1 file /etc/iproute2/rt_tables
  nc_each /etc/iproute2/rt_tables.d/*
  while nc_next; do
    item ip.rt-tables-d 'files/etc/iproute2/rt_tables.d/*' 10 256 S1 file "$nc_src"
  done
}

nc_area_bridge() {
  # brctl's ioctl loads the bridge module, and prints nothing at all without a bridge.
  if [ -n "$nc_sysfs" ]; then nc_why=$nc_sysfs; elif [ -z "$nc_bridges" ]; then nc_why='no bridge on this node'; else nc_why=; fi
  nc_skip=$nc_why
  item bridge.brctl-show host/bridge/brctl-show.txt 10 8192 S1 cmd brctl show
  set -f
  # shellcheck disable=SC2086 # interface names, separated by blanks
  set -- $nc_bridges
  set +f
  [ $# -gt 0 ] || set -- ''
  for nc_inst in "$@"; do
    nc_skip=$nc_why
    item bridge.brctl-showmacs 'host/bridge/brctl-showmacs-*.txt' 10 8192 S1 cmd brctl showmacs "$nc_inst"
  done
  nc_inst=
  item bridge.link-json host/bridge/link.json 10 8192 S1 cmd bridge -d -j link
  item bridge.link host/bridge/link.txt 10 8192 S1 cmd bridge -d link
  item bridge.fdb-json host/bridge/fdb.json 10 8192 S1 cmd bridge -d -s -j fdb show
  item bridge.fdb host/bridge/fdb.txt 10 8192 S1 cmd bridge -d -s fdb show
  item bridge.vlan-json host/bridge/vlan.json 10 8192 S1 cmd bridge -j vlan
  nc_skip=$nc_sysfs
  item bridge.sysfs host/bridge/sysfs.txt 10 8192 S1 fn "grep -sH '' /sys/class/net/*/{bridge/*,brport/*,mtu,address,operstate,carrier,ifindex,iflink}" do_sysfs
  nc_skip=$nc_sysfs
  item bridge.brif host/bridge/brif.txt 10 8192 S1 fn 'ls /sys/class/net/*/brif' do_brif
}

nc_area_firewall() {
  # Always plain -save, never -t TABLE and never -L: both would create the table they ask for.
  if [ "$nc_variant" = nft ]; then nc_guard nf_tables nf_tables_newtable; fi
  item fw.iptables-save host/fw/iptables-save.txt 30 32768 S1 cmd iptables-save -c
  if [ "$nc_variant" = nft ]; then nc_skip='iptables-save is this variant'; else nc_guard nf_tables nf_tables_newtable; fi
  item fw.iptables-nft-save host/fw/iptables-nft-save.txt 30 32768 S1 cmd iptables-nft-save -c
  if [ "$nc_variant" = legacy ]; then nc_skip='iptables-save is this variant'; fi
  item fw.iptables-legacy-save host/fw/iptables-legacy-save.txt 30 32768 S1 cmd iptables-legacy-save -c
  if [ "$nc_variant6" = nft ]; then nc_guard nf_tables nf_tables_newtable; fi
  item fw.ip6tables-save host/fw/ip6tables-save.txt 30 32768 S1 cmd ip6tables-save -c
  if [ "$nc_variant6" = nft ]; then nc_skip='ip6tables-save is this variant'; else nc_guard nf_tables nf_tables_newtable; fi
  item fw.ip6tables-nft-save host/fw/ip6tables-nft-save.txt 30 32768 S1 cmd ip6tables-nft-save -c
  if [ "$nc_variant6" = legacy ]; then nc_skip='ip6tables-save is this variant'; fi
  item fw.ip6tables-legacy-save host/fw/ip6tables-legacy-save.txt 30 32768 S1 cmd ip6tables-legacy-save -c
  if nc_have iptables; then set -- fn 'iptables -V; ip6tables -V; readlink -f $(command -v iptables)' do_iptables_version
  else set -- none missing 'tool not found in PATH: iptables'
  fi
  item fw.iptables-version host/fw/iptables-version.txt 5 256 S1 "$@"
  item fw.ip-tables-names host/fw/ip_tables_names.txt 5 256 S1 cat /proc/net/ip_tables_names
  item fw.ip6-tables-names host/fw/ip6_tables_names.txt 5 256 S1 cat /proc/net/ip6_tables_names
  nc_guard nf_tables nf_tables_newtable
  item fw.nft-json host/fw/nft.json 30 32768 S1 cmd nft -j list ruleset
  nc_guard nf_tables nf_tables_newtable
  item fw.nft host/fw/nft.txt 30 32768 S1 cmd nft -a list ruleset
  # ebtables-save makes tables of its own when there are none.
  if ! { grep -qs '^table bridge ' "$nc_root/host/fw/nft.txt" || grep -qs '^ebtable_' /proc/modules; }; then
    nc_skip='no ebtables table is loaded'
  fi
  item fw.ebtables-save host/fw/ebtables-save.txt 30 32768 S1 cmd ebtables-save
  nc_guard ip_set ip_set_create
  item fw.ipset-save host/fw/ipset-save.txt 30 32768 S1 cmd ipset save
  # ipvsadm runs modprobe by itself.
  if [ ! -e /proc/net/ip_vs ]; then nc_skip='no /proc/net/ip_vs, ipvsadm would load ip_vs'; fi
  item fw.ipvs host/fw/ipvs.txt 30 32768 S1 fn 'ipvsadm -Sn; cat /proc/net/ip_vs' do_ipvs
  nc_daemon firewalld
  if ! nc_have firewall-cmd; then set -- none missing 'tool not found in PATH: firewall-cmd'
  elif [ -z "$nc_daemon_pid" ]; then set -- none skipped 'firewalld does not run'
  else set -- fn 'firewall-cmd --state; firewall-cmd --list-all-zones' do_firewalld
  fi
  item fw.firewalld host/fw/firewalld.txt 10 8192 S1 "$@"
  if [ -f /etc/ufw/ufw.conf ]; then set -- fn "grep -H '' /etc/ufw/ufw.conf /etc/default/ufw" do_ufw
  else set -- none absent 'no such file: /etc/ufw/ufw.conf'
  fi
  item fw.ufw host/fw/ufw.txt 10 8192 S1 "$@"
  item fw.saved-sysconfig files/etc/sysconfig/iptables 5 32768 S1 file /etc/sysconfig/iptables
  item fw.saved-nftables files/etc/nftables.conf 5 32768 S1 file /etc/nftables.conf
  item fw.saved-rules-v4 files/etc/iptables/rules.v4 5 32768 S1 file /etc/iptables/rules.v4
  nc_each /etc/ufw/*.rules
  while nc_next; do
    item fw.saved-ufw 'files/etc/ufw/*.rules' 5 8192 S1 file "$nc_src"
  done
}

nc_area_sockets() {
  item ct.count host/ct/count 10 256 S1 cat /proc/sys/net/netfilter/nf_conntrack_count
  item ct.max host/ct/max 10 256 S1 cat /proc/sys/net/netfilter/nf_conntrack_max
  item ct.buckets host/ct/buckets 10 256 S1 cat /proc/sys/net/netfilter/nf_conntrack_buckets
  nc_guard nf_conntrack_netlink ctnetlink_dump_table
  item ct.stat host/ct/stat.txt 10 4096 S1 fn 'cat /proc/net/stat/nf_conntrack; conntrack -S' do_ct_stat
  if [ "$nc_conntrack" = 1 ]; then nc_guard nf_conntrack_netlink ctnetlink_dump_table; else nc_off='--conntrack was not given'; fi
  item ct.table host/ct/table.txt 10 4096 S1 fn 'conntrack -L -o extended (first 20000 rows)' do_ct_table
  nc_off=
  # ss loads inet_diag and tcp_diag; netstat reads /proc only.
  nc_diag=1
  nc_guard inet_diag inet_diag_dump_icsk
  if [ -n "$nc_skip" ]; then nc_diag=0; fi
  nc_skip=
  nc_guard tcp_diag tcp_diag_dump
  if [ -n "$nc_skip" ]; then nc_diag=0; fi
  nc_skip=
  item sock.ss-listen host/sock/ss-listen.txt 15 8192 S1 fn 'ss -H -l -n -t -u -p -e || netstat -tulpn' do_sockets
  item proc.tcp host/proc/net/tcp 15 8192 S1 cat /proc/net/tcp
  item proc.tcp6 host/proc/net/tcp6 15 8192 S1 cat /proc/net/tcp6
  item proc.udp host/proc/net/udp 15 8192 S1 cat /proc/net/udp
  item proc.udp6 host/proc/net/udp6 15 8192 S1 cat /proc/net/udp6
}

nc_area_sysctl() {
  item sys.sysctl host/sys/sysctl.txt 10 4096 S0 fn "cd /proc/sys; grep -sH '' net/ipv4/ip_forward net/ipv4/conf/*/... net/bridge/* net/netfilter/* ..." do_sysctl
  nc_wash=1
  item sys.sysctl-conf files/etc/sysctl.conf 10 256 S0 file /etc/sysctl.conf
  nc_each /etc/sysctl.d/*
  while nc_next; do
    item sys.sysctl-d 'files/etc/sysctl.d/*' 10 256 S0 file "$nc_src"
  done
  nc_each /usr/lib/sysctl.d/*
  while nc_next; do
    item sys.sysctl-lib 'files/usr/lib/sysctl.d/*' 10 256 S0 file "$nc_src"
  done
  nc_wash=0
}

nc_area_nic() {
  if [ "$nc_quick" = 1 ]; then nc_off=--quick; fi
  item tc.qdisc-json host/tc/qdisc.json 10 1024 S0 cmd tc -j -s -d qdisc
  set -f
  # shellcheck disable=SC2086 # interface names, separated by blanks
  set -- $nc_nics
  set +f
  [ $# -gt 0 ] || set -- ''
  for nc_inst in "$@"; do
    nc_nic_how=fn
    if ! nc_have ethtool; then nc_nic_how=none nc_nic_1=missing nc_nic_2='tool not found in PATH: ethtool'
    elif [ -z "$nc_inst" ]; then nc_nic_how=none nc_nic_1=absent nc_nic_2='no uplink, VXLAN device or bridge'
    else nc_nic_1="ethtool -k $nc_inst; ethtool -i $nc_inst; ethtool -S $nc_inst" nc_nic_2=do_ethtool
    fi
    item nic.ethtool 'host/nic/*.txt' 10 1024 S0 "$nc_nic_how" "$nc_nic_1" "$nc_nic_2" "$nc_inst"
  done
  nc_inst=
  nc_off=
}

# Sets nc_docker to the reason why the docker CLI must not be asked. It is asked only through the socket of a
# dockerd that runs here: docker.socket would start one, a context or DOCKER_HOST could lead elsewhere.
nc_find_docker() {
  nc_docker=
  nc_daemon dockerd
  nc_dockerd=$nc_daemon_pid
  if [ -z "$nc_dockerd" ]; then
    nc_docker='dockerd does not run, asking could start it'
    return 0
  fi
  nc_sock=
  tr '\000' '\n' <"/proc/$nc_dockerd/cmdline" >"$nc_tmp/args" 2>/dev/null
  while IFS= read -r nc_f_arg; do
    case $nc_f_arg in
      unix://* | -H=unix://* | -Hunix://* | --host=unix://*)
        nc_f_arg=${nc_f_arg#*unix://}
        if [ -z "$nc_sock" ] && [ -S "$nc_f_arg" ]; then nc_sock=$nc_f_arg; fi
        ;;
    esac
  done <"$nc_tmp/args"
  for nc_x in /var/run/docker.sock /run/docker.sock; do
    if [ -z "$nc_sock" ] && [ -S "$nc_x" ]; then nc_sock=$nc_x; fi
  done
  if [ -z "$nc_sock" ]; then
    nc_docker='dockerd runs, but none of its unix sockets was found'
    return 0
  fi
  DOCKER_HOST=unix://$nc_sock
  export DOCKER_HOST
}

# The guard of the next docker item; a daemon that hung once would cost its timeout seven times.
nc_ask_docker() { nc_skip=$nc_docker; }
nc_told_docker() {
  if [ "$nc_status" = timeout ] && [ -z "$nc_docker" ]; then nc_docker="docker gave no answer to $nc_id"; fi
}
# A docker function needs the CLI like a command does. Sets nc_how_1, nc_how_2.
nc_fn_tool() { # TOOL TEXT FUNCTION
  if nc_have "$1"; then nc_how_0=fn nc_how_1=$2 nc_how_2=$3
  else nc_how_0=none nc_how_1=missing nc_how_2="tool not found in PATH: $1"
  fi
}

nc_area_docker() {
  nc_find_docker
  nc_ask_docker
  item docker.version docker/version.json 20 8192 S2 cmd docker version --format '{{json .}}'
  nc_told_docker
  nc_ask_docker
  item docker.info-json docker/info.json 20 8192 S2 cmd docker info --format '{{json .}}'
  nc_told_docker
  nc_ask_docker
  item docker.info docker/info.txt 20 8192 S2 cmd docker info
  nc_told_docker
  nc_ask_docker
  item docker.network-ls docker/network-ls.txt 20 8192 S2 cmd docker network ls --no-trunc
  nc_told_docker
  nc_ask_docker
  nc_fn_tool docker 'docker network inspect $(docker network ls -q --no-trunc)' do_network_inspect
  item docker.network-inspect docker/network-inspect.json 20 8192 S2 "$nc_how_0" "$nc_how_1" "$nc_how_2"
  nc_told_docker
  nc_ask_docker
  nc_fn_tool docker 'docker ps -a --no-trunc --format JSON (without Command)' do_docker_ps
  item docker.ps docker/ps.json 20 8192 S2 "$nc_how_0" "$nc_how_1" "$nc_how_2"
  nc_told_docker
  nc_ask_docker
  nc_fn_tool docker 'docker inspect --format ALLOWLIST $(docker ps -a -q --no-trunc)' do_docker_containers
  item docker.containers docker/containers.jsonl 20 8192 S2 "$nc_how_0" "$nc_how_1" "$nc_how_2"
  nc_told_docker
  nc_flag_of "$nc_dockerd" --config-file
  nc_x=/etc/docker/daemon.json
  if [ ! -e "$nc_x" ] && [ -e /var/snap/docker/current/config/daemon.json ]; then nc_x=/var/snap/docker/current/config/daemon.json; fi
  nc_safe_path "$nc_flag" "$nc_x"
  item docker.daemon-json files/etc/docker/daemon.json 20 1024 S2 file "$nc_safe"
  nc_unit_guard
  item docker.unit systemd/docker.txt 20 1024 S2 fn 'systemctl cat docker.service docker.socket; systemctl show -p ActiveState,ExecMainStartTimestamp,NRestarts,Environment docker.service' do_unit docker.service docker.socket
  item docker.default files/etc/default/docker 20 1024 S2 file /etc/default/docker
  item docker.sysconfig files/etc/sysconfig/docker 20 1024 S2 file /etc/sysconfig/docker
  nc_cmdline dockerd
  item docker.cmdline cmdline/dockerd.txt 20 256 S2 "$nc_how_0" "$nc_how_1" "$nc_how_2" "$nc_daemon_pid"
  nc_docker_socket
}

# The API's unix sockets and the containers that have them. In a container there is nothing of the node to look at, unless that
# container is the node: dockerd runs in it.
nc_docker_socket() {
  nc_skip=
  if [ "$nc_mode" = container ] && [ -z "$nc_dockerd" ]; then nc_skip='in a container without a dockerd: no files of the node'; fi
  item docker.socket docker/socket.txt 20 256 S1 fn 'ls -ldin SOCKET DIRECTORY... of the sockets in /proc/net/unix, dockerd options, daemon.json, docker.socket' do_docker_socket
  set -- fn 'awk MOUNTS-OF-THE-SOCKET /proc/[0-9]*/mountinfo' do_socket_mounts
  case $nc_status in
    ok) if [ "$nc_uid" != 0 ]; then set -- none denied 'mounts of other processes take root'; fi ;;
    absent) set -- none absent 'no socket of docker' ;;
    skipped) nc_skip=$nc_reason ;;
    *) set -- none denied 'docker.socket did not come whole' ;;
  esac
  item docker.socket-mounts docker/socket-mounts.txt 20 1024 S1 "$@"
}

nc_unit_guard() {
  if [ ! -d /run/systemd/system ] || ! nc_have systemctl; then nc_skip='systemd does not run here'; fi
}

# The command line of a daemon: only of those named in the table, never of every process.
nc_cmdline() { # NAME
  nc_daemon "$1"
  if [ -n "$nc_daemon_pid" ]; then nc_how_0=fn nc_how_1="tr '\\\\0' '\\\\n' </proc/$nc_daemon_pid/cmdline" nc_how_2=do_cmdline
  else nc_how_0=none nc_how_1=absent nc_how_2="no process $1"
  fi
}

nc_area_cri() {
  nc_cri='no CRI socket'
  for nc_x in /run/containerd/containerd.sock /run/crio/crio.sock /run/cri-dockerd.sock /var/run/dockershim.sock \
    /run/k3s/containerd/containerd.sock; do
    if [ -S "$nc_x" ]; then nc_cri=; break; fi
  done
  # A socket without its daemon may be one that systemd listens on, and that would be started.
  if [ -z "$nc_cri" ]; then
    case $nc_x in
      */crio.sock) nc_daemon crio ;;
      */cri-dockerd.sock) nc_daemon cri-dockerd ;;
      */dockershim.sock) nc_daemon kubelet ;;
      *) nc_daemon containerd ;;
    esac
    if [ -z "$nc_daemon_pid" ]; then nc_cri="no daemon behind $nc_x"; fi
  fi
  # crictl.yaml may know a better endpoint; without one, name it: guessing takes crictl seconds.
  if [ ! -f /etc/crictl.yaml ]; then
    CONTAINER_RUNTIME_ENDPOINT=unix://$nc_x
    export CONTAINER_RUNTIME_ENDPOINT
  fi
  nc_skip=$nc_cri
  item cri.info cri/info.json 20 8192 S2 cmd crictl --timeout 5s info -o json
  if [ "$nc_status" = timeout ]; then nc_cri='crictl gave no answer to cri.info'; fi
  nc_skip=$nc_cri
  item cri.pods cri/pods.json 20 8192 S2 cmd crictl --timeout 5s pods -o json
  nc_skip=$nc_cri
  item cri.ps cri/ps.json 20 8192 S2 cmd crictl --timeout 5s ps -o json
  item cri.containerd-config files/etc/containerd/config.toml 20 1024 S2 file /etc/containerd/config.toml
  item cri.crictl-yaml files/etc/crictl.yaml 20 256 S2 file /etc/crictl.yaml
  nc_cmdline containerd
  item cri.cmdline-containerd cmdline/containerd.txt 20 256 S2 "$nc_how_0" "$nc_how_1" "$nc_how_2" "$nc_daemon_pid"
  nc_cmdline crio
  item cri.cmdline-crio cmdline/crio.txt 20 256 S2 "$nc_how_0" "$nc_how_1" "$nc_how_2" "$nc_daemon_pid"
  nc_cmdline cri-dockerd
  item cri.cmdline-cri-dockerd cmdline/cri-dockerd.txt 20 256 S2 "$nc_how_0" "$nc_how_1" "$nc_how_2" "$nc_daemon_pid"
}

nc_area_kubelet() {
  nc_cmdline k3s
  item kubelet.cmdline-k3s cmdline/k3s.txt 10 256 S2 "$nc_how_0" "$nc_how_1" "$nc_how_2" "$nc_daemon_pid"
  nc_cmdline rke2
  item kubelet.cmdline-rke2 cmdline/rke2.txt 10 256 S2 "$nc_how_0" "$nc_how_1" "$nc_how_2" "$nc_daemon_pid"
  nc_cmdline kube-proxy
  nc_proxy=$nc_daemon_pid
  item kubelet.cmdline-kube-proxy cmdline/kube-proxy.txt 10 256 S2 "$nc_how_0" "$nc_how_1" "$nc_how_2" "$nc_daemon_pid"
  nc_unit_guard
  item kubelet.unit systemd/kubelet.txt 10 1024 S2 fn 'systemctl cat kubelet' do_unit kubelet.service
  nc_cmdline kubelet
  item kubelet.cmdline cmdline/kubelet.txt 10 256 S2 "$nc_how_0" "$nc_how_1" "$nc_how_2" "$nc_daemon_pid"
  nc_flag_of "$nc_daemon_pid" --config -config
  nc_safe_path "$nc_flag" /var/lib/kubelet/config.yaml
  item kubelet.config files/var/lib/kubelet/config.yaml 10 1024 S2 file "$nc_safe"
  item kubelet.kubeadm-flags files/var/lib/kubelet/kubeadm-flags.env 10 1024 S2 file /var/lib/kubelet/kubeadm-flags.env
  item kubelet.default files/etc/default/kubelet 10 1024 S2 file /etc/default/kubelet
  item kubelet.sysconfig files/etc/sysconfig/kubelet 10 1024 S2 file /etc/sysconfig/kubelet
  item kubelet.k3s-config files/etc/rancher/k3s/config.yaml 10 1024 S2 file /etc/rancher/k3s/config.yaml
  nc_each /etc/rancher/k3s/config.yaml.d/*
  while nc_next; do
    item kubelet.k3s-config-d 'files/etc/rancher/k3s/config.yaml.d/*' 10 1024 S2 file "$nc_src"
  done
  item kubelet.rke2-config files/etc/rancher/rke2/config.yaml 10 1024 S2 file /etc/rancher/rke2/config.yaml
  nc_each /etc/rancher/rke2/config.yaml.d/*
  while nc_next; do
    item kubelet.rke2-config-d 'files/etc/rancher/rke2/config.yaml.d/*' 10 1024 S2 file "$nc_src"
  done
  if [ -d /etc/kubernetes/manifests ]; then set -- fn 'ls /etc/kubernetes/manifests; grep CIDR flags of it' do_staticpods
  else set -- none absent 'no such directory: /etc/kubernetes/manifests'
  fi
  item kubelet.staticpods staticpods.txt 10 1024 S2 "$@"
  # The config map as the kube-proxy container sees it.
  nc_inside=
  if [ -n "$nc_proxy" ]; then nc_inside_of "$nc_proxy" /var/lib/kube-proxy/config.conf; fi
  if [ -n "$nc_inside" ]; then set -- file "$nc_inside"
  elif [ -z "$nc_proxy" ]; then set -- none absent 'no process kube-proxy'
  else set -- none absent "no /var/lib/kube-proxy/config.conf in /proc/$nc_proxy/root"
  fi
  item kubelet.kube-proxy-config files/var/lib/kube-proxy/config.conf 10 1024 S2 "$@"
}

nc_area_flannel() {
  # Marked S1, but back ends and CNI plugins may keep keys in their configuration.
  nc_wash=1
  nc_cmdline flanneld
  nc_flanneld=$nc_daemon_pid
  nc_flag_of "$nc_flanneld" --subnet-file -subnet-file
  nc_safe_path "$nc_flag" /run/flannel/subnet.env
  item flannel.subnet-env files/run/flannel/subnet.env 10 256 S1 file "$nc_safe"
  item flannel.cmdline cmdline/flanneld.txt 10 256 S1 "$nc_how_0" "$nc_how_1" "$nc_how_2" "$nc_flanneld"
  nc_inside=
  if [ -n "$nc_flanneld" ]; then nc_inside_of "$nc_flanneld" /etc/kube-flannel/net-conf.json; fi
  for nc_x in /var/lib/rancher/k3s/agent/etc/flannel/net-conf.json /var/lib/rancher/rke2/agent/etc/flannel/net-conf.json; do
    if [ -z "$nc_inside" ] && [ -f "$nc_x" ]; then nc_inside=$nc_x; fi
  done
  if [ -n "$nc_inside" ]; then set -- file "$nc_inside"; else set -- none absent 'no net-conf.json of a flanneld or of k3s'; fi
  item flannel.net-conf flannel/net-conf.json 10 256 S1 "$@"
  nc_each /etc/cni/net.d/*
  while nc_next; do
    item cni.conf 'files/etc/cni/net.d/*' 10 1024 S1 file "$nc_src"
  done
  item cni.bin cni/bin.txt 10 256 S1 fn 'ls -l /opt/cni/bin' do_ls /opt/cni/bin
  if [ -d /var/lib/cni/networks ]; then set -- fn "grep -rsH '' /var/lib/cni/networks" do_grep -rsH '' /var/lib/cni/networks
  else set -- none absent 'no such directory: /var/lib/cni/networks'
  fi
  item cni.ipam cni/ipam.txt 10 4096 S1 "$@"
  item cni.cache cni/cache.txt 10 1024 S1 fn 'ls -l /var/lib/cni/results /var/lib/cni/cache/results' do_ls /var/lib/cni/results /var/lib/cni/cache/results
  nc_unit_guard
  item flannel.unit systemd/flanneld.txt 10 1024 S1 fn 'systemctl cat flanneld' do_unit flanneld.service
  nc_wash=0
}

# Opt-in: the only part that speaks to another host.
nc_area_api() {
  nc_wash=1
  nc_kc=/etc/kubernetes/kubelet.conf
  nc_daemon kubelet
  nc_flag_of "$nc_daemon_pid" --hostname-override
  nc_x=${nc_flag:-$nc_host}
  if [ -z "$nc_api" ]; then nc_off='--api was not given'; elif [ ! -r "$nc_kc" ]; then nc_skip="not readable: $nc_kc"; fi
  item k8s.node k8s/node.json 20 16384 S1 cmd kubectl --kubeconfig "$nc_kc" --request-timeout=15s get node "$nc_x" -o json
  nc_kc=/etc/kubernetes/admin.conf
  nc_why=
  if [ "$nc_api" != admin ]; then nc_off='--api=admin was not given'; elif [ ! -r "$nc_kc" ]; then nc_why="not readable: $nc_kc"; fi
  nc_skip=$nc_why
  item k8s.nodes k8s/nodes.json 20 16384 S1 cmd kubectl --kubeconfig "$nc_kc" --request-timeout=15s get nodes -o json
  nc_skip=$nc_why
  item k8s.services k8s/services.json 20 16384 S1 cmd kubectl --kubeconfig "$nc_kc" --request-timeout=15s get services -A -o json
  nc_skip=$nc_why
  item k8s.endpointslices k8s/endpointslices.json 20 16384 S1 cmd kubectl --kubeconfig "$nc_kc" --request-timeout=15s get endpointslices.discovery.k8s.io -A -o json
  nc_skip=$nc_why
  item k8s.kube-proxy-configmap k8s/kube-proxy-configmap.json 20 16384 S1 cmd kubectl --kubeconfig "$nc_kc" --request-timeout=15s -n kube-system get configmap kube-proxy -o json
  nc_skip=$nc_why
  item k8s.kube-flannel-configmap k8s/kube-flannel-configmap.json 20 16384 S1 cmd kubectl --kubeconfig "$nc_kc" --request-timeout=15s get configmap -A --field-selector metadata.name=kube-flannel-cfg -o json
  nc_off=
  nc_wash=0
}

nc_area_logs() {
  if [ "$nc_quick" = 1 ]; then nc_off=--quick; fi
  nc_fn_tool dmesg dmesg do_tail
  item log.dmesg host/log/dmesg.txt 20 4096 S2 "$nc_how_0" "$nc_how_1" "$nc_how_2" dmesg
  nc_since=$((nc_epoch - 86400))
  for nc_inst in docker containerd kubelet flanneld k3s rke2-server rke2-agent systemd-networkd NetworkManager firewalld; do
    nc_unit_guard
    nc_fn_tool journalctl "journalctl --no-pager --utc -o short-iso -u $nc_inst --since=@$nc_since -n 20000" do_tail
    item log.journal 'log/journal-*.txt' 20 4096 S2 "$nc_how_0" "$nc_how_1" "$nc_how_2" journalctl --no-pager --utc -o short-iso -u "$nc_inst" "--since=@$nc_since" -n 20000
  done
  nc_inst=
  nc_newest /var/log/pods/kube-*flannel*/*/*.log
  item log.flannel-pod log/flannel-pod.txt 20 4096 S2 "$nc_how_0" "$nc_how_1" "$nc_how_2" "$nc_src"
  nc_newest /var/log/pods/kube-system_kube-proxy*/*/*.log
  item log.kube-proxy-pod log/kube-proxy-pod.txt 20 4096 S2 "$nc_how_0" "$nc_how_1" "$nc_how_2" "$nc_src"
  nc_off=
}

# The newest of some files, as the arguments of an item: nc_how_0 to nc_how_2, nc_src.
nc_newest() {
  nc_src=
  for nc_x in "$@"; do
    [ -f "$nc_x" ] || continue
    if [ -z "$nc_src" ] || [ -n "$(find "$nc_x" -newer "$nc_src" 2>/dev/null)" ]; then nc_src=$nc_x; fi
  done
  if [ -n "$nc_src" ]; then nc_how_0=fn nc_how_1="tail -c $nc_tail_limit $nc_src" nc_how_2=do_podlog
  else nc_how_0=none nc_how_1=absent nc_how_2="no file $1"
  fi
}

# Iteration over the files of a pattern: nc_each PATTERN..., then `while nc_next` sets nc_src and nc_inst.
# A pattern that matches nothing gives one round without instance, which records it as absent.
nc_each() {
  nc_list=
  for nc_x in "$@"; do
    case $nc_x in
      *kubeconfig* | *.key | *.pem) continue ;;
      *'*'*) [ -e "$nc_x" ] || continue ;;
    esac
    # A newline separates the names; one that holds a newline itself is left out.
    case $nc_x in *"$nc_nl"*) continue ;; esac
    if [ -f "$nc_x" ] || [ -L "$nc_x" ]; then nc_list=$nc_list$nc_x$nc_nl; fi
  done
  if [ -z "$nc_list" ]; then nc_list=${1%/*}/\*$nc_nl nc_list_empty=1; else nc_list_empty=0; fi
}
nc_next() {
  nc_inst=
  [ -n "$nc_list" ] || return 1
  nc_src=${nc_list%%"$nc_nl"*}
  nc_list=${nc_list#*"$nc_nl"}
  if [ "$nc_list_empty" = 1 ]; then return 0; fi
  nc_inst=${nc_src##*/}
  case $nc_src in /etc/ufw/*.rules) nc_inst=${nc_inst%.rules} ;; esac
}

nc_area_netns() {
  item netns.index netns/index.txt 5 1024 S1 fn 'ls -ln /proc/[0-9]*/ns/net; ls -id /run/netns/* /run/docker/netns/*' do_netns_index
  nc_count=0
  if [ -s "$nc_root/netns/index.txt" ]; then
    while read -r nc_inst nc_npid nc_x nc_x nc_pin; do
      # The collector's own namespace is the host part of this bundle.
      [ "$nc_inst" != "$nc_own_ns" ] || continue
      nc_count=$((nc_count + 1))
      nc_ns=$nc_inst
      nc_netns_items
    done <"$nc_root/netns/index.txt"
  fi
  nc_inst='' nc_ns=host
  if [ "$nc_count" = 0 ]; then
    nc_npid=- nc_pin=-
    nc_netns_items
  fi
}

# The guard of the next namespace item.
nc_ns_guard() {
  nc_skip=
  if [ "$nc_count" -gt 256 ]; then nc_skip='more than 256 network namespaces'
  fi
}
# The same, for parts that --quick leaves out.
nc_ns_detail() {
  nc_ns_guard
  if [ "$nc_quick" = 1 ]; then nc_off=--quick; fi
}

nc_netns_items() {
  # Enter by a process where there is one, else by the mount that keeps the namespace.
  if [ "$nc_npid" != - ]; then set -- -t "$nc_npid" -n; nc_np=/proc/$nc_npid/net
  else set -- "--net=$nc_pin"; nc_np=
  fi
  nc_ns_guard
  item netns.addr-json 'netns/*/addr.json' 5 1024 S1 cmd nsenter "$@" ip -d -s -j addr
  nc_ns_guard
  item netns.link-json 'netns/*/link.json' 5 1024 S1 cmd nsenter "$@" ip -d -s -j link
  nc_ns_guard
  item netns.route4-json 'netns/*/route4.json' 5 1024 S1 cmd nsenter "$@" ip -4 -d -j route show table all
  nc_ns_guard
  item netns.route4 'netns/*/route4.txt' 5 1024 S1 cmd nsenter "$@" ip -4 -d route show table all
  nc_ns_guard
  item netns.route6-json 'netns/*/route6.json' 5 1024 S1 cmd nsenter "$@" ip -6 -d -j route show table all
  nc_ns_guard
  item netns.rule4-json 'netns/*/rule4.json' 5 1024 S1 cmd nsenter "$@" ip -4 -j rule
  nc_ns_guard
  item netns.neigh-json 'netns/*/neigh.json' 5 1024 S1 cmd nsenter "$@" ip -d -s -j neigh show nud all
  nc_ns_guard
  if [ -z "$nc_skip" ] && [ "$nc_diag" = 0 ]; then nc_skip='inet_diag or tcp_diag is not loaded, ss would load it'; fi
  item netns.ss-listen 'netns/*/ss-listen.txt' 5 1024 S1 cmd nsenter "$@" ss -H -l -n -t -u -p -e
  nc_ns_guard
  # The patterns must be expanded inside, where the namespace's own interfaces are; hence a shell in there.
  item netns.sysctl 'netns/*/sysctl.txt' 5 1024 S1 cmd nsenter "$@" sh -c "cd /proc/sys && grep -sH '' net/ipv4/ip_forward net/ipv4/ip_default_ttl net/ipv4/icmp_echo_ignore_all net/ipv6/icmp/echo_ignore_all net/ipv4/ip_local_port_range net/ipv4/conf/*/rp_filter net/ipv4/conf/*/forwarding net/ipv4/conf/*/arp_ignore net/ipv4/conf/*/accept_local net/ipv6/conf/*/disable_ipv6 net/ipv6/conf/*/forwarding net/ipv6/conf/*/hop_limit net/ipv6/conf/*/force_forwarding || [ \$? = 2 ]"
  nc_ns_guard
  if [ -z "$nc_skip" ]; then nc_guard nf_tables nf_tables_newtable; fi
  item netns.iptables-nft-save 'netns/*/iptables-nft-save.txt' 5 1024 S1 cmd nsenter "$@" iptables-nft-save -c
  nc_ns_guard
  item netns.iptables-legacy-save 'netns/*/iptables-legacy-save.txt' 5 1024 S1 cmd nsenter "$@" iptables-legacy-save -c
  nc_ns_guard
  if [ -z "$nc_skip" ]; then nc_guard nf_tables nf_tables_newtable; fi
  item netns.nft-tables 'netns/*/nft-tables.txt' 5 256 S1 cmd nsenter "$@" nft list tables
  # The list says whether there is anything to save: most namespaces have no IPv6 rules.
  nc_ns_guard
  if [ -z "$nc_skip" ]; then nc_guard nf_tables nf_tables_newtable; fi
  if [ -z "$nc_skip" ] && [ -f "$nc_root/netns/$nc_inst/nft-tables.txt" ] && ! grep -q '^table ip6 ' "$nc_root/netns/$nc_inst/nft-tables.txt"; then
    nc_skip='nft lists no IPv6 table of iptables'
  fi
  item netns.ip6tables-nft-save 'netns/*/ip6tables-nft-save.txt' 5 1024 S1 cmd nsenter "$@" ip6tables-nft-save -c
  nc_ns_guard
  if [ -z "$nc_skip" ] && [ ! -e /proc/net/ip6_tables_names ]; then nc_skip='ip6_tables is not loaded'; fi
  item netns.ip6tables-legacy-save 'netns/*/ip6tables-legacy-save.txt' 5 1024 S1 cmd nsenter "$@" ip6tables-legacy-save -c
  nc_ns_guard
  nc_inside=
  if [ "$nc_npid" != - ]; then nc_inside_of "$nc_npid" /etc/resolv.conf; fi
  if [ -n "$nc_inside" ]; then nc_how_0=cat nc_how_1=$nc_inside; else nc_how_0=none nc_how_1=absent; fi
  item netns.resolv-conf 'netns/*/resolv.conf' 5 1024 S1 "$nc_how_0" "$nc_how_1" 'no resolv.conf inside a process of the namespace'
  # Plain files of a process need no nsenter; a namespace without process is entered to read them.
  if [ -n "$nc_np" ]; then set -- cat; else set -- cmd nsenter "$@" cat; nc_np=/proc/net; fi
  nc_ns_guard
  item netns.proc-route 'netns/*/net/route' 5 1024 S1 "$@" "$nc_np/route"
  nc_ns_detail
  item netns.proc-ipv6-route 'netns/*/net/ipv6_route' 5 1024 S1 "$@" "$nc_np/ipv6_route"
  nc_ns_detail
  item netns.proc-fib-trie 'netns/*/net/fib_trie' 5 1024 S1 "$@" "$nc_np/fib_trie"
  nc_ns_detail
  item netns.proc-arp 'netns/*/net/arp' 5 1024 S1 "$@" "$nc_np/arp"
  nc_ns_detail
  item netns.proc-dev 'netns/*/net/dev' 5 1024 S1 "$@" "$nc_np/dev"
  nc_ns_detail
  item netns.proc-tcp 'netns/*/net/tcp' 5 1024 S1 "$@" "$nc_np/tcp"
  nc_ns_detail
  item netns.proc-tcp6 'netns/*/net/tcp6' 5 1024 S1 "$@" "$nc_np/tcp6"
  nc_ns_detail
  item netns.proc-udp 'netns/*/net/udp' 5 1024 S1 "$@" "$nc_np/udp"
  nc_ns_detail
  item netns.proc-udp6 'netns/*/net/udp6' 5 1024 S1 "$@" "$nc_np/udp6"
  nc_ns_detail
  item netns.proc-if-inet6 'netns/*/net/if_inet6' 5 1024 S1 "$@" "$nc_np/if_inet6"
  nc_off=
  nc_ns_guard
  item netns.proc-ip-tables-names 'netns/*/net/ip_tables_names' 5 1024 S1 "$@" "$nc_np/ip_tables_names"
  nc_ns_guard
  item netns.proc-ip6-tables-names 'netns/*/net/ip6_tables_names' 5 1024 S1 "$@" "$nc_np/ip6_tables_names"
}

nc_area_self() {
  # An interrupted or late run has a log as well: these two are never skipped.
  nc_x=$nc_stop nc_stop=0
  nc_deadline=$((nc_deadline + 3000))
  nc_total=0
  nc_log 'end of collection'
  item collector.tools collector/tools.txt 5 1024 S0 fn 'the collector itself' cat "$nc_tmp/tools"
  item collector.log collector/log.txt 5 1024 S0 fn 'the collector itself' cat "$nc_tmp/log"
  nc_stop=$nc_x
}

# ---------------------------------------------------------------- identity, packing, main

# Reads what needs no command: uid, capabilities, boot id.
nc_identify() {
  nc_uid=0 nc_caps=0
  while read -r nc_x nc_x_value nc_x_rest; do
    case $nc_x in
      Uid:) nc_uid=${nc_x_rest%%[!0-9]*} ;;
      CapEff:) nc_caps=$nc_x_value ;;
    esac
  done </proc/self/status
  read -r nc_boot </proc/sys/kernel/random/boot_id
  read -r nc_uuid </proc/sys/kernel/random/uuid
  nc_bundle_id=
  # The uuid without its dashes.
  while [ -n "$nc_uuid" ]; do
    nc_bundle_id=$nc_bundle_id${nc_uuid%%-*}
    case $nc_uuid in *-*) nc_uuid=${nc_uuid#*-} ;; *) nc_uuid= ;; esac
  done
  read -r nc_release </proc/sys/kernel/osrelease
  nc_host=
  read -r nc_host </proc/sys/kernel/hostname
  nc_own_ns=$(readlink /proc/self/ns/net 2>/dev/null)
  nc_own_ns=${nc_own_ns#net:?}
  nc_own_ns=${nc_own_ns%]}
  nc_pid1_ns=$(readlink /proc/1/ns/net 2>/dev/null)
  nc_pid1_ns=${nc_pid1_ns#net:?}
  nc_pid1_ns=${nc_pid1_ns%]}
  nc_own_mnt=$(readlink /proc/self/ns/mnt 2>/dev/null)
  nc_pid1_mnt=$(readlink /proc/1/ns/mnt 2>/dev/null)
  nc_x=$(date -u '+%s %Y%m%dT%H%M%SZ')
  nc_epoch=${nc_x% *}
  nc_stamp=${nc_x#* }
}

# In a container image (debug pod, DaemonSet) the node's own tools and files are wanted, not the image's.
# Only where a container marker says so; re-running needs this script as a file.
nc_leave_container() {
  nc_mode=${NETCASE_MODE-}
  case $nc_mode in nsenter | chroot) return 0 ;; esac
  nc_mode=host
  if [ -z "${KUBERNETES_SERVICE_HOST-}" ] && [ ! -e /.dockerenv ] && [ ! -e /run/.containerenv ]; then return 0; fi
  nc_mode=container
  # Pid 1 on the same root file system is our own container's: nothing to leave to.
  nc_x=$(stat -L -c %d:%i / 2>/dev/null)
  if [ "$nc_x" = "$(stat -L -c %d:%i /proc/1/root/ 2>/dev/null)" ]; then return 0; fi
  { [ -f "$0" ] && [ -r "$0" ]; } || return 0
  if [ -n "$nc_pid1_mnt" ] && [ "$nc_pid1_mnt" != "$nc_own_mnt" ] && nc_have nsenter &&
    nsenter -t 1 -m -u -n -i -- true 2>/dev/null; then
    NETCASE_MODE=nsenter
    export NETCASE_MODE
    exec nsenter -t 1 -m -u -n -i -- sh -s -- "$@" <"$0"
  fi
  if [ -x /host/bin/sh ] && [ -d /host/proc/1 ]; then
    NETCASE_MODE=chroot
    export NETCASE_MODE
    exec chroot /host sh -s -- "$@" <"$0"
  fi
}

# nc_node: the name for the file, of letters, digits, dots and dashes.
nc_node_name() {
  nc_node=$1
  case $nc_node in
    *[!A-Za-z0-9.-]*) nc_node=$(printf %s "$nc_node" | tr -c 'A-Za-z0-9.-' -) ;;
  esac
  while :; do
    case $nc_node in
      [.-]*) nc_node=${nc_node#?} ;;
      *) break ;;
    esac
  done
  while [ ${#nc_node} -gt 63 ]; do nc_node=${nc_node%?}; done
  [ -n "$nc_node" ] || nc_node=node
}

# Identity, written before anything is collected so that a cut archive still says whose it is.
nc_write_identity() {
  nc_fqdn=
  # From /etc/hosts only: hostname -f would ask a name server.
  case $nc_host in
    *.*) nc_fqdn=$nc_host ;;
    ?*)
      if [ -r /etc/hosts ]; then
        while read -r nc_x nc_x_rest; do
          set -f
          for nc_x_name in $nc_x_rest; do
            case $nc_x_name in "$nc_host".*) nc_fqdn=${nc_fqdn:-$nc_x_name} ;; esac
          done
          set +f
        done </etc/hosts
      fi
      ;;
  esac
  nc_os=
  if [ -r /etc/os-release ]; then
    while IFS='=' read -r nc_x nc_x_value; do
      if [ "$nc_x" = PRETTY_NAME ]; then nc_os=${nc_x_value#\"} nc_os=${nc_os%\"}; fi
    done </etc/os-release
  fi
  nc_machine=null
  if [ -r /etc/machine-id ] && [ -n "$nc_sha" ]; then
    nc_machine=$($nc_sha </etc/machine-id)
    nc_machine="\"${nc_machine%% *}\""
  fi
  nc_self=null
  if [ -f "$0" ] && [ -r "$0" ] && [ -n "$nc_sha" ] && grep -qs '^nc_version=' "$0"; then
    nc_self=$($nc_sha <"$0")
    nc_self="\"${nc_self%% *}\""
  fi
  nc_json "$nc_host"; nc_b_host=$nc_j
  nc_json "$nc_fqdn"; nc_b_fqdn=$nc_j
  nc_json "${nc_node_given:-$nc_host}"; nc_b_name=$nc_j
  nc_json "$nc_release"; nc_b_kernel=$nc_j
  nc_json "$nc_os"; nc_b_os=$nc_j
  nc_json "$nc_tz"; nc_b_tz=$nc_j
  nc_put "{\"format\":\"netcase-bundle\",\"version\":1,\"minReader\":1,\"id\":\"$nc_bundle_id\",\"collector\":{\"name\":\"netcase-collect.sh\",\"version\":\"$nc_version\",\"sha256\":$nc_self},\"node\":{\"name\":$nc_b_name,\"hostname\":$nc_b_host,\"fqdn\":$nc_b_fqdn,\"machineIdSha256\":$nc_machine,\"bootId\":\"$nc_boot\",\"kernel\":$nc_b_kernel,\"os\":$nc_b_os},\"clock\":{\"epoch\":$nc_epoch,\"uptimeCs\":$nc_cs0,\"tz\":$nc_b_tz,\"refEpoch\":$nc_ref},\"context\":{\"uid\":$nc_uid,\"caps\":\"$nc_caps\",\"netns\":\"$nc_own_ns\",\"pid1netns\":\"$nc_pid1_ns\",\"mode\":\"$nc_mode\"},\"options\":$nc_options}" >"$nc_root/bundle.json"
}

# Where the spool lies: the first place with room. nc_total_max: how much may be collected.
nc_make_spool() {
  nc_spool=
  for nc_x in "${TMPDIR:-/tmp}" /tmp /var/tmp "$nc_dest"; do
    [ "$nc_x" != - ] || continue
    { [ -d "$nc_x" ] && [ -w "$nc_x" ]; } || continue
    nc_free=$(df -Pk "$nc_x" 2>/dev/null | awk 'NR > 1 { free = $(NF - 2) } END { print free + 0 }')
    [ "${nc_free:-0}" -ge 4096 ] || continue
    # mkdir fails on anything that exists, a planted link included.
    if mkdir "$nc_x/netcase.$$.$nc_boot6" 2>/dev/null; then
      nc_spool=$nc_x/netcase.$$.$nc_boot6
      break
    fi
  done
  [ -n "$nc_spool" ] || nc_die 4 'no directory with 4 MiB of free space for the spool (set TMPDIR)'
  nc_total_max=$((96 * 1024 * 1024))
  if [ "$nc_free" -lt 262144 ]; then nc_total_max=$((nc_free * 512)); fi
  case $nc_spool in /*) ;; *) nc_spool=$PWD/$nc_spool ;; esac
  nc_tmp=$nc_spool/tmp
  nc_root=$nc_spool/$nc_stem
}

nc_cleanup() {
  nc_in_main || return 0
  if [ -n "${nc_watch-}" ]; then
    nc_kill_tree "$nc_watch" KILL "$nc_pid"
    wait "$nc_watch" 2>/dev/null
    nc_watch=
  fi
  if [ -n "${nc_part-}" ]; then rm -f "$nc_part"; fi
  if [ -n "${nc_spool-}" ]; then rm -rf "$nc_spool"; fi
}

# Sizes, line counts and hashes of all members by two commands, then the records one a line.
nc_write_manifest() {
  cd "$nc_root" || return 1
  # stderr is capped here, where it costs one command and not one for each item.
  xargs wc -lc <"$nc_tmp/members" >"$nc_tmp/wc" 2>/dev/null
  # shellcheck disable=SC2013 # member names hold no blanks
  for nc_x in $(awk '$3 ~ /\.err$/ && $2 > 65536 { print $3 }' "$nc_tmp/wc"); do
    dd if="$nc_x" of="$nc_tmp/cut" bs=1024 count=64 2>/dev/null && cat "$nc_tmp/cut" >"$nc_x"
  done
  if [ -n "$nc_sha" ]; then
    # shellcheck disable=SC2086 # a command and its arguments
    { nc_put bundle.json; cat "$nc_tmp/members"; } | xargs $nc_sha >"$nc_tmp/sums" || return 1
  else
    printf '' >"$nc_tmp/sums"
  fi
  nc_x=$(date -u +%s)
  nc_now
  {
    nc_put "{\"format\":\"netcase-bundle\",\"version\":1,\"id\":\"$nc_bundle_id\",\"t0\":$nc_epoch,\"evidence\":[" &&
      awk -F '\t' -v wc="$nc_tmp/wc" -v sums="$nc_tmp/sums" '
        BEGIN {
          while ((getline line <wc) > 0) { split(line, w, /[ \t]+/); k = w[1] == "" ? 2 : 1; lines[w[k + 2]] = w[k]; bytes[w[k + 2]] = w[k + 1] }
          while ((getline line <sums) > 0) { split(line, w, /[ \t]+/); sub(/^\*/, "", w[2]); sum[w[2]] = w[1] }
        }
        NR > 1 { print previous "," }
        {
          m = $1
          s = m == "-" ? "\"bytes\":0," : "\"bytes\":" (bytes[m] + 0) ",\"lines\":" (lines[m] + 0) ","
          if (m in sum) s = s "\"sha256\":\"" sum[m] "\","
          previous = $2 s $3
        }
        END { if (NR) print previous }' "$nc_tmp/records" &&
      nc_put "],\"end\":{\"records\":$nc_records,\"ok\":$nc_ok,\"t1\":$nc_x,\"uptimeCs\":$nc_cs,\"deadline\":$nc_late,\"complete\":$nc_complete}}"
  } >manifest.json || return 1
  if [ -n "$nc_sha" ]; then
    # shellcheck disable=SC2086
    { cat "$nc_tmp/sums" && $nc_sha manifest.json; } >SHA256SUMS || return 1
  else
    printf '' >SHA256SUMS || return 1
  fi
}

# One tar, members in the order of collection, names only (no directories). The archive goes to $1.
nc_pack() {
  cd "$nc_spool" || return 1
  {
    nc_put "$nc_stem/bundle.json"
    sed "s|^|$nc_stem/|" "$nc_tmp/members"
    nc_put "$nc_stem/manifest.json"
    nc_put "$nc_stem/SHA256SUMS"
  } >"$nc_tmp/all" || return 1
  # ustar where tar can choose: GNU's own header for long names is one more thing for a reader to know.
  nc_pack_to=$1
  if tar --format=ustar -cf /dev/null -T /dev/null 2>/dev/null; then set -- --format=ustar -T "$nc_tmp/all"
  elif tar -cf /dev/null -T /dev/null 2>/dev/null; then set -- -T "$nc_tmp/all"
  else
    # busybox built without -T: all names as arguments.
    set --
    while read -r nc_x; do set -- "$@" "$nc_x"; done <"$nc_tmp/all"
  fi
  nc_put 0 >"$nc_tmp/tar.rc"
  { tar -cf - "$@" 2>"$nc_tmp/tar.err" || nc_put 1 >"$nc_tmp/tar.rc"; } | gzip -c >"$nc_pack_to" || return 1
  read -r nc_x <"$nc_tmp/tar.rc"
  [ "$nc_x" = 0 ]
}

nc_usage() {
  nc_say "$1 (see --help)"
  exit 2
}

nc_main() {
  set -u
  nc_dest=. nc_node_given='' nc_quick=0 nc_full=0 nc_conntrack=0 nc_api='' nc_unprivileged=0 nc_ref=null
  nc_identify
  nc_leave_container "$@"
  nc_json_array "$@"
  nc_options=$nc_argv
  while [ $# -gt 0 ]; do
    case $1 in
      -o | --output) [ $# -gt 1 ] || nc_usage "$1 needs a directory or -"; nc_dest=$2; shift ;;
      -o?*) nc_dest=${1#-o} ;;
      --output=*) nc_dest=${1#*=} ;;
      --node) [ $# -gt 1 ] || nc_usage '--node needs a name'; nc_node_given=$2; shift ;;
      --node=*) nc_node_given=${1#*=} ;;
      --quick) nc_quick=1 ;;
      --full) nc_full=1 ;;
      --conntrack) nc_conntrack=1 ;;
      --api) nc_api=node ;;
      --api=admin) nc_api='admin' ;;
      --unprivileged) nc_unprivileged=1 ;;
      --ref-epoch) [ $# -gt 1 ] || nc_usage '--ref-epoch needs a number'; nc_ref=$2; shift ;;
      --ref-epoch=*) nc_ref=${1#*=} ;;
      --version) nc_put "netcase-collect.sh $nc_version"; exit 0 ;;
      -h | --help) nc_help; exit 0 ;;
      *) nc_usage "unknown argument: $1" ;;
    esac
    shift
  done
  case $nc_ref in null) ;; *[!0-9]* | '') nc_usage '--ref-epoch needs a number' ;; esac
  if [ "$nc_dest" != - ]; then
    [ -d "$nc_dest" ] || nc_usage "not a directory: $nc_dest"
    nc_dest=${nc_dest%/}
    nc_abs=$(cd "$nc_dest/" && pwd -P) || nc_usage "not a directory: $nc_dest"
  fi
  if [ "$nc_uid" != 0 ] && [ "$nc_unprivileged" = 0 ]; then
    nc_die 3 'not root: most evidence would be missing; --unprivileged collects the rest'
  fi

  umask 077
  nc_pid=$$ nc_kid='' nc_stop=0 nc_watch='' nc_part=''
  nc_status='' nc_skip='' nc_off='' nc_inst='' nc_ns=host nc_wash=0
  nc_records=0 nc_ok=0 nc_partial=0 nc_late=false nc_total=0 nc_odd=0 nc_modules='?' nc_builtin='' nc_diag=1
  nc_nl='
'
  # The host's time zone, before ours is set.
  nc_tz=$(unset TZ; date '+%Z %z')
  LC_ALL=C LANG=C LANGUAGE='' TZ=UTC
  export LC_ALL LANG LANGUAGE TZ
  unset DOCKER_CLI_HINTS DOCKER_HOST DOCKER_CONTEXT DOCKER_TLS_VERIFY KUBECONFIG GREP_OPTIONS SYSTEMD_PAGER 2>/dev/null
  # The node's own tools first; k3s and rke2 bring theirs along.
  PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  PATH=$PATH:/var/lib/rancher/k3s/data/current/bin:/var/lib/rancher/k3s/data/current/bin/aux:/var/lib/rancher/rke2/bin
  export PATH
  if nc_have sha256sum; then nc_sha=sha256sum
  elif nc_have shasum; then nc_sha='shasum -a 256'
  else nc_sha=; nc_partial=1
  fi
  nc_now
  nc_cs0=$nc_cs
  nc_deadline=$((nc_cs0 + 18000))
  nc_node_name "${nc_node_given:-$nc_host}"
  # Six hex digits that differ between two runs of one second.
  nc_boot6=$(printf '%06x' $(((0x${nc_boot%"${nc_boot#??????}"} + $$) % 16777216)))
  nc_stem=netcase_${nc_node}_${nc_stamp}_$nc_boot6

  nc_make_spool
  trap nc_cleanup EXIT
  trap nc_interrupt TERM INT HUP
  trap '' PIPE
  mkdir "$nc_tmp" "$nc_root" "$nc_spool/home" || nc_die 4 'cannot write the spool'
  # What nearly every node has, by one process; nc_collect makes what is missing.
  (cd "$nc_root" && mkdir -p cmdline cni collector cri docker files/etc/default files/etc/docker files/etc/sysctl.d \
    files/run/flannel files/usr/lib/sysctl.d files/var/lib/kubelet host/bridge host/ct host/fw host/ip host/log \
    host/proc/net host/sock host/sys host/tc k8s log netns systemd) 2>/dev/null
  # A home of our own: tools find no credentials there and leave no caches behind.
  HOME=$nc_spool/home DOCKER_CONFIG=$nc_spool/home
  export HOME DOCKER_CONFIG
  nc_put '0 0' >"$nc_tmp/cur" || nc_die 4 'cannot write the spool'
  printf '' >"$nc_tmp/records"
  printf '' >"$nc_tmp/members"
  printf '' >"$nc_tmp/tools"
  nc_watchdog </dev/null >/dev/null 2>&1 &
  nc_watch=$!
  # Evidence is never worth a slow node.
  { renice 19 -p $$ || renice -n 19 -p $$; } >/dev/null 2>&1
  if nc_have ionice; then ionice -c3 -p $$ >/dev/null 2>&1; fi
  nc_log "netcase-collect.sh $nc_version on $nc_node, shell options $-"
  nc_write_identity || nc_die 4 'cannot write the spool'

  nc_run 20 1024 "$nc_tmp/procs" /dev/null do_scan
  nc_check_sysfs
  nc_find_links
  nc_find_variants
  nc_area_system
  nc_area_links
  nc_area_routes
  nc_area_bridge
  nc_area_firewall
  nc_area_sockets
  nc_area_sysctl
  nc_area_nic
  nc_area_docker
  nc_area_cri
  nc_area_kubelet
  nc_area_flannel
  nc_area_api
  nc_area_logs
  nc_area_netns
  nc_area_self
  nc_finish
}

# Packs the spool, tells the path and ends with the exit code of --help.
nc_finish() {
  # From here on a signal would only spoil a bundle that is nearly there.
  trap '' TERM INT HUP
  nc_complete=true
  if [ "$nc_stop" = 1 ] || [ "$nc_late" = true ]; then nc_complete=false; fi
  (nc_write_manifest) || nc_die 4 'no space for the manifest'
  if [ "$nc_dest" = - ]; then
    # By way of a file, so that a failing disk or tar is known before the first byte is out.
    nc_target=$nc_spool/out.tar.gz
    (nc_pack "$nc_target") || nc_die 4 'no space for the archive'
    cat "$nc_target" || nc_die 4 'cannot write the archive to stdout'
  else
    nc_part=$nc_abs/.$nc_stem.part
    (set -C; printf '' >"$nc_part") 2>/dev/null || { nc_part=; nc_die 4 "cannot write to $nc_dest"; }
    (nc_pack "$nc_part") || nc_die 4 "no space for the archive in $nc_dest"
    nc_target=$nc_abs/$nc_stem.tar.gz
    mv "$nc_part" "$nc_target" || nc_die 4 "cannot write $nc_target"
    nc_part=
    nc_put "$nc_dest/$nc_stem.tar.gz"
  fi
  if [ -n "$nc_sha" ]; then
    nc_x=$($nc_sha <"$nc_target")
    nc_put "${nc_x%% *}  $nc_stem.tar.gz" >&2
  fi
  nc_now
  nc_say "$nc_records items, $nc_ok ok, $(((nc_cs - nc_cs0) * 10)) ms"
  [ "$nc_stop" = 0 ] || exit 5
  exit "$nc_partial"
}

# The whole text is read before anything runs, so `sh -s <netcase-collect.sh` works too.
nc_main "$@"
