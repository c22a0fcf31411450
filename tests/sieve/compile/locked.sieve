# A folder that the delivery process may not read.
# sieve_perot_encrypt_certs = {dir}/locked
require "vnd.perot.encrypt";
encrypt "nobody@t.org";
