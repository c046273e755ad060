#include "credentials.h"

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

namespace runs {
namespace {

using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Text = std::unique_ptr<BIO, decltype(&BIO_free)>;

std::string content(const std::string& file) {
  const std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    throw std::runtime_error("cannot read " + file);
  }
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

Text reader(const std::string& pem) { return {BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free}; }

// A key that is locked by a password is of no use: nobody is asked for it.
char* no_password() {
  static char empty[] = "";
  return empty;
}

Certificate next_certificate(const Text& text) {
  return {PEM_read_bio_X509(text.get(), nullptr, nullptr, no_password()), X509_free};
}

// gRPC looks at files when it connects, and to a caller it then seems as if the gateway could not be reached. So they are tried here.

// The certificates of a file, as they are; `first` gets the first of them.
std::string certificates(const std::string& file, Certificate& first) {
  auto pem = content(file);
  const auto text = reader(pem);
  first = next_certificate(text);
  auto last = Certificate(nullptr, X509_free);
  while (first && (last = next_certificate(text))) {
  }
  const bool all = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (!first || !all) {
    throw std::runtime_error(file + " has no certificates in PEM");
  }
  return pem;
}

std::string key_of(const Certificate& certificate, const std::string& file) {
  auto pem = content(file);
  const Key key(PEM_read_bio_PrivateKey(reader(pem).get(), nullptr, nullptr, no_password()), EVP_PKEY_free);
  const bool fits = key && X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (!fits) {
    throw std::runtime_error(file + (key ? " has a key that does not fit the certificate" : " has no key in PEM"));
  }
  return pem;
}

}  // namespace

bool secured(const Options& options) { return options.tls || !options.ca.empty() || !options.cert.empty(); }

std::shared_ptr<grpc::ChannelCredentials> credentials(const Options& options) {
  if (!secured(options)) {
    return grpc::InsecureChannelCredentials();
  }
  // Threads of gRPC may still connect while a process exits: OpenSSL must not be taken down under them.
  OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr);
  ERR_clear_error();
  grpc::SslCredentialsOptions tls;
  Certificate first(nullptr, X509_free);
  if (!options.ca.empty()) {
    tls.pem_root_certs = certificates(options.ca, first);
  }
  if (!options.cert.empty()) {
    tls.pem_cert_chain = certificates(options.cert, first);
    tls.pem_private_key = key_of(first, options.key);
  }
  return grpc::SslCredentials(tls);
}

}  // namespace runs
