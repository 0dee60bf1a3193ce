-- A card is found in any spelling, small letters as capital ones. Cards of before stay as they were written.
CREATE INDEX resident_card_spelling ON resident (card COLLATE NOCASE);
