/* SPDX-License-Identifier: Apache-2.0 */
/* tls_fault.c: OpenSSL's words for what went wrong, as faults and as texts. Holds no state. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>

#include "net/tls_inside.h"

const char *tls_reason(void)
{
    unsigned long e = ERR_peek_error();
    const char *text = e ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    return text ? text : "no reason is known";
}

void tls_say(struct tls_errors *e, struct str at, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    e->n++;
    e->say(e->arg, at, text);
}

void tls_hear(void *arg, struct str at, const char *text)
{
    struct tls_heard *h = arg;
    (void) at;
    if (!h->text)
        h->text = mem_strdup(str_c(text));
}

/* The peer's certificate was not accepted. */
static enum fault certificate_fault(struct tls *t)
{
    long result = SSL_get_verify_result(t->ssl);
    t->why = X509_verify_cert_error_string(result);
    if (t->set)
        return FAULT_CLIENT_CERT_INVALID;
    switch (result) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return FAULT_UP_CERT_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return FAULT_UP_CERT_NOT_YET;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return FAULT_UP_CERT_NAME;
    case X509_V_ERR_CERT_REVOKED:
        return FAULT_UP_CERT_REVOKED;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
        return FAULT_UP_CERT_CA;
    default:
        return FAULT_UP_CERT_INVALID;
    }
}

static enum fault client_fault(struct tls *t, int reason)
{
    if (t->refused)
        return FAULT_TLS_SNI;
    switch (reason) {
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
        return FAULT_TLS_PLAIN_HTTP;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return FAULT_CLIENT_CERT_MISSING;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return FAULT_TLS_NO_COMMON;
    default:
        return FAULT_TLS_FAILED;
    }
}

enum fault tls_handshake_fault(struct tls *t, int error)
{
    unsigned long e = ERR_peek_error();
    int reason = ERR_GET_LIB(e) == ERR_LIB_SSL ? ERR_GET_REASON(e) : 0;
    if (t->fin || (error == SSL_ERROR_SYSCALL && !e)) {
        t->why = "the peer ended the connection in the handshake";
        return t->set ? FAULT_TLS_ABORTED : FAULT_UP_TLS_CLOSED;
    }
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return certificate_fault(t);
    t->why = tls_reason();
    if (t->set)
        return client_fault(t, reason);
    return reason >= SSL_AD_REASON_OFFSET ? FAULT_UP_TLS_ALERT : FAULT_UP_TLS_FAILED;
}
