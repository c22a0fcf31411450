# Not in a loop over the parts of the message that it replaces.
# sieve_perot_encrypt_certs = ~/own
require ["vnd.perot.encrypt", "foreverypart"];
foreverypart { encrypt; }
