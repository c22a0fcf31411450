# A setting with a wrong value.
# sieve_perot_encrypt_hide_subject = true
require "vnd.perot.encrypt";
encrypt "me@domain.com";
