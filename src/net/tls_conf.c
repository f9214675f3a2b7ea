/* SPDX-License-Identifier: Apache-2.0 */
/* tls_conf.c: the rows of TLS settings, both sides, and what is wrong with them taken together.
 * Constant. */
#include "net/tls_conf.h"

#include <openssl/evp.h>

#include "base/map.h"
#include "base/mem.h"
#include "net/addr.h"
#include "net/client_hello.h"

#define DAY (INT64_C(86400) * 1000000)

/* What every row here has in common. */
#define ROW(of, member, of_type)                                                                   \
    .name = #member, .type = of_type, .offset = offsetof(struct of, member), .reloadable = true,   \
    .since = "0.2"

static const char *const policy_choices[] = {"intermediate", "modern", NULL};
static const char *const version_choices[] = {"policy", "1.2", "1.3", NULL};
static const char *const auth_choices[] = {"off", "request", "require", NULL};
static const char *const verify_choices[] = {"full", "ca", "off", NULL};

/* ---- clients' side ------------------------------------------------------------------------- */

static const struct schema_field cert_rows[] = {
    {ROW(tls_cert_conf, cert, SCHEMA_STRING), .required = true,
     .doc = "PEM file: the certificate, then the intermediate ones in order; watched.",
     .example = "/etc/weir/example.com.pem"},
    {ROW(tls_cert_conf, key, SCHEMA_STRING), .required = true,
     .doc = "PEM file: the private key of cert; watched.", .example = "/etc/weir/example.com.key"},
    {ROW(tls_cert_conf, ocsp, SCHEMA_STRING), .def = "",
     .doc = "DER file: an OCSP response that is stapled while it is valid; watched.",
     .example = "/etc/weir/example.com.ocsp"},
    {ROW(tls_cert_conf, names, SCHEMA_LIST), .item = SCHEMA_STRING, .max = 1000,
     .doc = "Names (SNI) that this certificate is shown for, *.example.com too; without any: those "
            "in the certificate.",
     .example = "[example.com, \"*.example.com\"]"},
};

static const struct schema_field allow_rows[] = {
    {ROW(tls_allow_conf, san, SCHEMA_LIST), .item = SCHEMA_STRING, .max = 10000,
     .doc = "One of these is a name in the certificate: host (*.example.com too), e-mail, IP, URI.",
     .example = "[billing.internal]"},
    {ROW(tls_allow_conf, cn, SCHEMA_LIST), .item = SCHEMA_STRING, .max = 10000,
     .doc = "One of these is the common name of the subject.", .example = "[alice]"},
    {ROW(tls_allow_conf, spiffe, SCHEMA_LIST), .item = SCHEMA_STRING, .max = 10000,
     .doc = "One of these is the SPIFFE id; an id that ends in /* stands for all below it.",
     .example = "[\"spiffe://example.org/ns/shop/*\"]"},
    {ROW(tls_allow_conf, issuer, SCHEMA_LIST), .item = SCHEMA_STRING, .max = 10000,
     .doc = "One of these is the issuer: its common name, or its whole name as RFC 4514 writes it.",
     .example = "[\"CN=Clients CA,O=Example\"]"},
};

static const struct schema_field auth_rows[] = {
    {ROW(tls_auth_conf, mode, SCHEMA_ENUM), .def = "off", .choices = auth_choices,
     .doc = "off: no certificate is asked for; request: one that is shown must be good; require: "
            "there must be one.",
     .example = "require"},
    {ROW(tls_auth_conf, ca, SCHEMA_STRING), .def = "",
     .doc = "PEM file: the certificates that clients' certificates must lead to; watched.",
     .example = "/etc/weir/clients-ca.pem"},
    {ROW(tls_auth_conf, crl, SCHEMA_STRING), .def = "",
     .doc = "PEM file: revocation lists of every authority in the chain; watched.",
     .example = "/etc/weir/clients.crl"},
    {ROW(tls_auth_conf, verify_depth, SCHEMA_INT), .def = "3", .min = 0, .max = 20,
     .doc = "Most intermediate certificates between a client's and the authority's.",
     .example = "3"},
    {ROW(tls_auth_conf, allow, SCHEMA_OBJECT), .sub = &tls_allow_schema,
     .doc = "Who of those with a good certificate may come in; others are answered 403.",
     .example = "{san: [billing.internal]}"},
};

static const struct schema_field sni_rows[] = {
    {ROW(tls_sni_conf, client_auth, SCHEMA_OBJECT), .sub = &tls_auth_schema,
     .given = offsetof(struct tls_sni_conf, client_auth_given),
     .doc = "Clients' certificates for this name, in place of the listener's client_auth.",
     .example = "{mode: require, ca: /etc/weir/clients-ca.pem}"},
};

static const struct schema_field ticket_rows[] = {
    {ROW(tls_ticket_conf, enabled, SCHEMA_BOOL), .def = "true",
     .doc = "Let clients resume sessions by tickets.", .example = "true"},
    {ROW(tls_ticket_conf, keys, SCHEMA_LIST), .item = SCHEMA_STRING, .max = 16,
     .doc = "Files of 80 random bytes each, shared by several machines: the first encrypts "
            "tickets, all of them decrypt; watched. Without any, keys are made here.",
     .example = "[/etc/weir/ticket.key, /etc/weir/ticket.old]"},
    {ROW(tls_ticket_conf, rotate, SCHEMA_DURATION), .def = "12h", .min = 1000000, .max = 7 * DAY,
     .unit = "duration",
     .doc = "How often a key that was made here is replaced; the two before it still decrypt.",
     .example = "12h"},
    {ROW(tls_ticket_conf, lifetime, SCHEMA_DURATION), .def = "24h", .min = 1000000, .max = 7 * DAY,
     .unit = "duration", .doc = "How long a session may be resumed.", .example = "24h"},
};

static const struct schema_field hsts_rows[] = {
    {ROW(hsts_conf, max_age, SCHEMA_DURATION), .def = "off", .max = 3650 * DAY, .unit = "duration",
     .doc = "Strict-Transport-Security on every answer over TLS, for that long; off: none.",
     .example = "8760h"},
    {ROW(hsts_conf, include_subdomains, SCHEMA_BOOL), .def = "false",
     .doc = "Holds for subdomains too.", .example = "true"},
    {ROW(hsts_conf, preload, SCHEMA_BOOL), .def = "false",
     .doc = "Consents to be in browsers' preload lists.", .example = "false"},
};

static const struct schema_field server_rows[] = {
    {ROW(tls_server_conf, certificates, SCHEMA_LIST), .sub = &tls_cert_schema, .required = true,
     .min = 1, .max = 10000,
     .doc = "Certificates by name; the first is the default. One name may have an RSA and an ECDSA "
            "one.",
     .example = "[{cert: /etc/weir/site.pem, key: /etc/weir/site.key}]"},
    {ROW(tls_server_conf, policy, SCHEMA_ENUM), .def = "intermediate", .choices = policy_choices,
     .doc = "Versions, ciphers and groups as in Mozilla's guideline 5.8: intermediate (TLS 1.2 and "
            "1.3) or modern (TLS 1.3).",
     .example = "intermediate"},
    {ROW(tls_server_conf, min_version, SCHEMA_ENUM), .def = "policy", .choices = version_choices,
     .doc = "Lowest version of TLS.", .example = "1.2"},
    {ROW(tls_server_conf, max_version, SCHEMA_ENUM), .def = "policy", .choices = version_choices,
     .doc = "Highest version of TLS.", .example = "1.3"},
    {ROW(tls_server_conf, ciphers, SCHEMA_STRING), .def = "",
     .doc = "Ciphers of TLS 1.2 as OpenSSL lists them; empty: the policy's.",
     .example = "ECDHE+AESGCM"},
    {ROW(tls_server_conf, ciphersuites, SCHEMA_STRING), .def = "",
     .doc = "Ciphers of TLS 1.3; empty: the policy's.", .example = "TLS_AES_128_GCM_SHA256"},
    {ROW(tls_server_conf, groups, SCHEMA_STRING), .def = "",
     .doc = "Groups for the key exchange, in order; empty: the policy's.",
     .example = "X25519:prime256v1"},
    {ROW(tls_server_conf, alpn, SCHEMA_LIST), .item = SCHEMA_STRING, .max = 8,
     .doc = "Protocols offered by ALPN, in order; without any: all that Weir speaks.",
     .example = "[http/1.1]"},
    {ROW(tls_server_conf, strict_sni, SCHEMA_BOOL), .def = "false",
     .doc = "Refuse clients that name no host or one without a certificate, instead of showing "
            "them the default one.",
     .example = "true"},
    {ROW(tls_server_conf, session_tickets, SCHEMA_OBJECT), .sub = &tls_ticket_schema,
     .doc = "How clients resume sessions.", .example = "{rotate: 12h}"},
    {ROW(tls_server_conf, session_cache, SCHEMA_INT), .def = "0", .min = 0, .max = 10000000,
     .doc = "Sessions kept in memory for clients that have no tickets; 0: none.",
     .example = "10000"},
    {ROW(tls_server_conf, early_data, SCHEMA_BOOL), .def = "false",
     .doc = "Take requests of safe methods before the handshake is over (0-RTT, RFC 8470); others "
            "are answered 425. Sessions of TLS 1.3 are then kept in memory (session_cache, or "
            "20480 of them) and resumed once each, by this process only.",
     .example = "true"},
    {ROW(tls_server_conf, handshakes_per_source, SCHEMA_INT), .def = "256", .min = 0,
     .max = 1000000,
     .doc = "Handshakes in progress at a time from one address (IPv6: one /64); more are closed; "
            "0: no limit.",
     .example = "256"},
    {ROW(tls_server_conf, hsts, SCHEMA_OBJECT), .sub = &hsts_schema,
     .doc = "Tells browsers to come by HTTPS only.", .example = "{max_age: 8760h}"},
    {ROW(tls_server_conf, client_auth, SCHEMA_OBJECT), .sub = &tls_auth_schema,
     .doc = "Clients' certificates (mutual TLS).",
     .example = "{mode: require, ca: /etc/weir/clients-ca.pem}"},
    {ROW(tls_server_conf, sni, SCHEMA_MAP), .sub = &tls_sni_schema,
     .doc =
         "What differs for single names, or for every name below one (*.example.com); the longest "
         "that fits holds.",
     .example = "{admin.example.com: {client_auth: {mode: require, ca: /etc/weir/admins.pem}}}"},
};

/* ---- upstreams' side ----------------------------------------------------------------------- */

static const struct schema_field client_rows[] = {
    {ROW(tls_client_conf, enabled, SCHEMA_BOOL), .def = "true",
     .doc = "Speak TLS to the endpoints; tls: true is enough to say so.", .example = "true"},
    {ROW(tls_client_conf, verify, SCHEMA_ENUM), .def = "full", .choices = verify_choices,
     .doc = "full: the certificate leads to ca and names the endpoint; ca: only the first; off: "
            "nothing is verified.",
     .example = "full"},
    {ROW(tls_client_conf, ca, SCHEMA_STRING), .def = "",
     .doc = "PEM file: trusted authorities; empty: the system's; watched.",
     .example = "/etc/weir/internal-ca.pem"},
    {ROW(tls_client_conf, crl, SCHEMA_STRING), .def = "",
     .doc = "PEM file: revocation lists of every authority in the chain; watched.",
     .example = "/etc/weir/internal.crl"},
    {ROW(tls_client_conf, sni, SCHEMA_STRING), .def = "",
     .doc = "The name to ask for and to verify; empty: the endpoint's host.",
     .example = "app.internal"},
    {ROW(tls_client_conf, alpn, SCHEMA_LIST), .item = SCHEMA_STRING, .max = 8,
     .doc = "Protocols offered by ALPN; without any: none.", .example = "[http/1.1]"},
    {ROW(tls_client_conf, cert, SCHEMA_STRING), .def = "",
     .doc = "PEM file: Weir's own certificate with its intermediates, for endpoints that ask; "
            "watched.",
     .example = "/etc/weir/weir.pem"},
    {ROW(tls_client_conf, key, SCHEMA_STRING), .def = "",
     .doc = "PEM file: the private key of cert; watched.", .example = "/etc/weir/weir.key"},
    {ROW(tls_client_conf, min_version, SCHEMA_ENUM), .def = "policy", .choices = version_choices,
     .doc = "Lowest version of TLS; policy: 1.2.", .example = "1.3"},
    {.name = "pin_sha256",
     .type = SCHEMA_LIST,
     .offset = offsetof(struct tls_client_conf, pin),
     .reloadable = true,
     .since = "0.2",
     .item = SCHEMA_STRING,
     .max = 100,
     .doc = "The SHA-256 of the endpoint's public key, in base64, is one of these.",
     .example = "[\"YLh1dUR9y6Kja30RrAn7JKnbQG/uEtLMkBgFF2Fuihg=\"]"},
    {ROW(tls_client_conf, handshake_timeout, SCHEMA_DURATION), .def = "10s", .min = 1000,
     .max = DAY, .unit = "duration",
     .doc = "Longest handshake, counted from the moment when the connection is made.",
     .example = "10s"},
};

#undef ROW

/* ---- cross-checks -------------------------------------------------------------------------- */

typedef void (*say_fn)(void *arg, const char *field, const char *text);

static void auth_check(const void *object, say_fn say, void *arg)
{
    const struct tls_auth_conf *a = object;
    if (a->mode != TLS_AUTH_OFF && a->ca.n == 0)
        say(arg, "mode", "mode needs ca: the file of the authorities that sign clients");
    if (a->mode == TLS_AUTH_OFF && (a->ca.n || a->crl.n))
        say(arg, "ca",
            "ca and crl are of no use while mode is off; set mode: require (or request)");
}

/* What clients ask for, or *. and that, into out; told if it is neither: a rule for it would never
 * hold. */
static struct str asked_name(struct str name, const char *field, struct client_hello *out,
                             say_fn say, void *arg)
{
    bool wild = str_starts(name, STR("*."));
    if (client_hello_host_name(wild ? str_sub(name, 2, name.n) : name, out))
        return str_of(out->sni, out->sni_n);
    char *text = mem_printf("%s: \"%.*s\" is no host name; write it without scheme, port and path, "
                            "as in example.com or *.example.com",
                            field, STR_ARG(name));
    say(arg, field, text);
    mem_free(text);
    return STR("");
}

static void cert_check(const void *object, say_fn say, void *arg)
{
    const struct tls_cert_conf *c = object;
    const struct str *names = c->names.items;
    struct client_hello asked;
    for (size_t i = 0; i < c->names.n; i++)
        (void) asked_name(names[i], "names", &asked, say, arg);
}

/* Each name once, whatever its case. */
static void check_sni(const struct tls_server_conf *c, say_fn say, void *arg)
{
    struct map seen[2] = {0}; /* names, and what stands behind *. */
    struct client_hello asked;
    for (size_t i = 0; i < c->sni.n; i++) {
        struct str name = asked_name(c->sni.names[i], "sni", &asked, say, arg);
        if (!name.n || !map_set(&seen[c->sni.names[i].p[0] == '*'], name, &seen))
            continue;
        char *text = mem_printf("sni: \"%.*s\" is given twice, as case and a dot at the end do not "
                                "matter",
                                STR_ARG(c->sni.names[i]));
        say(arg, "sni", text);
        mem_free(text);
    }
    map_fini(&seen[0]);
    map_fini(&seen[1]);
}

static void server_check(const void *object, say_fn say, void *arg)
{
    const struct tls_server_conf *c = object;
    check_sni(c, say, arg);
    int low = c->min_version            ? c->min_version
              : c->policy == TLS_MODERN ? TLS_VERSION_13
                                        : TLS_VERSION_12;
    if (c->max_version && c->max_version < low)
        say(arg, "max_version", "max_version is below min_version (or the policy's); raise it");
    if (c->ciphers.n && low == TLS_VERSION_13)
        say(arg, "ciphers", "ciphers are of TLS 1.2, which is not allowed here; set ciphersuites");
}

/* The base64 of 32 bytes. */
static bool is_pin(struct str pin)
{
    unsigned char bytes[33];
    return pin.n == 44 && pin.p[43] == '=' && pin.p[42] != '=' &&
           EVP_DecodeBlock(bytes, (const unsigned char *) pin.p, 44) == 33;
}

/* What no certificate and no key could ever be. */
static void check_peer(const struct tls_client_conf *c, say_fn say, void *arg)
{
    const struct str *pins = c->pin.items;
    struct client_hello asked;
    struct ip ip;
    if (c->sni.n && !ip_parse(c->sni, &ip) && !client_hello_host_name(c->sni, &asked))
        say(arg, "sni",
            "sni is a host name as in the endpoint's certificate, like api.example.com");
    for (size_t i = 0; i < c->pin.n; i++) {
        if (!is_pin(pins[i]))
            say(arg, "pin_sha256",
                "pin_sha256: a pin is the base64 of 32 bytes, 44 characters: "
                "openssl x509 -in CERT -noout -pubkey | openssl pkey -pubin "
                "-outform DER | openssl dgst -sha256 -binary | base64");
    }
}

static void client_check(const void *object, say_fn say, void *arg)
{
    const struct tls_client_conf *c = object;
    check_peer(c, say, arg);
    if ((c->cert.n == 0) != (c->key.n == 0))
        say(arg, c->cert.n ? "cert" : "key", "cert and key belong together; give both");
    if (c->verify == TLS_VERIFY_OFF && (c->ca.n || c->crl.n))
        say(arg, "verify", "ca and crl are of no use with verify: off; remove them or verify");
}

#define TABLE(of, called, rows, text, ...)                                                         \
    {                                                                                              \
        .name = called, .doc = text, .size = sizeof(struct of), .fields = rows,                    \
        .n_fields = SCHEMA_COUNT(rows), __VA_ARGS__                                                \
    }
#define PLACE(of) .pos = offsetof(struct of, pos)

const struct schema_table tls_cert_schema =
    TABLE(tls_cert_conf, "tls.certificate", cert_rows, "A certificate and its key.",
          PLACE(tls_cert_conf), .check = cert_check);
const struct schema_table tls_allow_schema =
    TABLE(tls_allow_conf, "client_auth.allow", allow_rows,
          "Who may come in: each kind that is given must match by one of its entries.", .pos = 0);
const struct schema_table tls_auth_schema =
    TABLE(tls_auth_conf, "client_auth", auth_rows, "How clients prove who they are.",
          PLACE(tls_auth_conf), .check = auth_check);
const struct schema_table tls_sni_schema =
    TABLE(tls_sni_conf, "tls.sni", sni_rows, "What differs for one name.", PLACE(tls_sni_conf));
const struct schema_table tls_ticket_schema =
    TABLE(tls_ticket_conf, "session_tickets", ticket_rows,
          "Tickets by which clients resume sessions.", .short_form = "enabled");
const struct schema_table hsts_schema =
    TABLE(hsts_conf, "hsts", hsts_rows, "HTTP strict transport security (RFC 6797).",
          .short_form = "max_age");
const struct schema_table tls_server_schema = TABLE(tls_server_conf, "listener.tls", server_rows,
                                                    "TLS on a listener: clients must speak HTTPS.",
                                                    PLACE(tls_server_conf), .check = server_check);
const struct schema_table tls_client_schema =
    TABLE(tls_client_conf, "upstream.tls", client_rows, "TLS to the endpoints of an upstream.",
          PLACE(tls_client_conf), .check = client_check, .short_form = "enabled");
