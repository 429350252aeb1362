ALTER TABLE `outbox` ADD `language` text;
